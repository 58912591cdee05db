#include "common/seal/hpke.h"

#include <openssl/crypto.h>
#include <string.h>

#define LABEL(text)                                                                                                  \
	{                                                                                                            \
		text, sizeof(text) - 1                                                                               \
	}

/* DHKEM(X25519, HKDF-SHA256) is 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002 (RFC 9180, 7). */
static const struct span version = LABEL("HPKE-v1"), kem_suite = LABEL("KEM\x00\x20"),
			 suite = LABEL("HPKE\x00\x20\x00\x01\x00\x02");

enum { MODE_BASE = 0, CONTEXT_SIZE = 1 + 2 * KDF_SIZE };

/* RFC 9180, 4: LabeledExtract */
static int labeled_extract(struct span suite_id, struct span salt, const char *label, struct span ikm,
	uint8_t key[KDF_SIZE], struct rounds_error *error)
{
	const struct span parts[] = { version, suite_id, span_of(label), ikm };

	return kdf_extract(salt, parts, ARRAY_SIZE(parts), key, error);
}

/* LabeledExpand */
static int labeled_expand(struct span suite_id, const uint8_t key[KDF_SIZE], const char *label, struct span info,
	uint8_t *out, uint8_t size, struct rounds_error *error)
{
	const uint8_t length[2] = { 0, size };
	const struct span parts[] = { { length, sizeof(length) }, version, suite_id, span_of(label), info };

	return kdf_expand(key, parts, ARRAY_SIZE(parts), out, size, error);
}

/* ExtractAndExpand of 4.1, with kem_context = enc, recipient's key. */
static int shared_secret(const struct secret_key *agreed, const uint8_t enc[HPKE_ENC_SIZE],
	const struct public_key *recipient, struct secret_key *shared, struct rounds_error *error)
{
	scoped(secret_key) struct secret_key key;
	uint8_t context[2 * KEY_SIZE];

	memcpy(context, enc, KEY_SIZE);
	memcpy(context + KEY_SIZE, recipient->bytes, KEY_SIZE);
	return labeled_extract(kem_suite, (struct span){ "", 0 }, "eae_prk", (struct span){ agreed->bytes, KEY_SIZE },
		       key.bytes, error) ||
			       labeled_expand(kem_suite, key.bytes, "shared_secret",
				       (struct span){ context, sizeof(context) }, shared->bytes, KEY_SIZE, error)
		       ? -1
		       : 0;
}

/* KeySchedule of 5.1 in base mode, where psk and psk_id are empty. */
static int key_schedule(
	struct hpke *hpke, const struct secret_key *shared, struct span info, struct rounds_error *error)
{
	const struct span none = { "", 0 };
	scoped(secret_key) struct secret_key secret;
	uint8_t context[CONTEXT_SIZE] = { MODE_BASE };
	const struct span whole = { context, sizeof(context) };

	hpke->sequence = 0;
	return labeled_extract(suite, none, "psk_id_hash", none, context + 1, error) ||
			       labeled_extract(suite, none, "info_hash", info, context + 1 + KDF_SIZE, error) ||
			       labeled_extract(suite, (struct span){ shared->bytes, KEY_SIZE }, "secret", none,
				       secret.bytes, error) ||
			       labeled_expand(suite, secret.bytes, "key", whole, hpke->key, AEAD_KEY_SIZE, error) ||
			       labeled_expand(suite, secret.bytes, "base_nonce", whole, hpke->base_nonce,
				       AEAD_NONCE_SIZE, error)
		       ? -1
		       : 0;
}

int hpke_send_with(struct hpke *hpke, const struct secret_key *ephemeral, const struct public_key *recipient,
	struct span info, uint8_t enc[HPKE_ENC_SIZE], struct rounds_error *error)
{
	scoped(secret_key) struct secret_key agreed, shared;
	struct public_key public_key;

	if (sealing_public(ephemeral, &public_key, error) || sealing_agree(ephemeral, recipient, &agreed, error))
		return -1;
	memcpy(enc, public_key.bytes, KEY_SIZE);
	return shared_secret(&agreed, enc, recipient, &shared, error) || key_schedule(hpke, &shared, info, error) ? -1
														  : 0;
}

int hpke_send(struct world *world, struct hpke *hpke, const struct public_key *recipient, struct span info,
	uint8_t enc[HPKE_ENC_SIZE], struct rounds_error *error)
{
	scoped(secret_key) struct secret_key ephemeral;

	secret_new(world, &ephemeral);
	return hpke_send_with(hpke, &ephemeral, recipient, info, enc, error);
}

int hpke_receive(struct hpke *hpke, const struct secret_key *recipient, const uint8_t enc[HPKE_ENC_SIZE],
	struct span info, struct rounds_error *error)
{
	scoped(secret_key) struct secret_key agreed, shared;
	struct public_key own, sent;

	memcpy(sent.bytes, enc, KEY_SIZE);
	return sealing_public(recipient, &own, error) || sealing_agree(recipient, &sent, &agreed, error) ||
			       shared_secret(&agreed, enc, &own, &shared, error) ||
			       key_schedule(hpke, &shared, info, error)
		       ? -1
		       : 0;
}

void hpke_end(struct hpke *hpke)
{
	OPENSSL_cleanse(hpke, sizeof(*hpke));
}

/* ComputeNonce of 5.2: the sequence number, in big endian, upon the end of the base nonce. */
static void next_nonce(const struct hpke *hpke, uint8_t nonce[AEAD_NONCE_SIZE])
{
	memcpy(nonce, hpke->base_nonce, AEAD_NONCE_SIZE);
	for (size_t i = 0; i < sizeof(hpke->sequence); i++)
		nonce[AEAD_NONCE_SIZE - 1 - i] ^= (uint8_t)(hpke->sequence >> 8 * i);
}

int hpke_seal(struct hpke *hpke, struct span aad, struct span plain, uint8_t *out, struct rounds_error *error)
{
	uint8_t nonce[AEAD_NONCE_SIZE];

	next_nonce(hpke, nonce);
	hpke->sequence++; /* whatever comes of it: no nonce serves twice */
	return aead_seal(hpke->key, nonce, aad, plain, out, error);
}

int hpke_open(struct hpke *hpke, struct span aad, struct span sealed, uint8_t *out, struct rounds_error *error)
{
	uint8_t nonce[AEAD_NONCE_SIZE];

	next_nonce(hpke, nonce);
	if (aead_open(hpke->key, nonce, aad, sealed, out, error))
		return -1;
	hpke->sequence++;
	return 0;
}
