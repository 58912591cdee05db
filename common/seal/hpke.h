/*
 * Hybrid public key encryption (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Whoever has a public
 * key can seal for its owner; who it was, a signature around it must tell.
 *
 * OpenSSL 3.0 has its parts and not itself. Exports and the modes with a shared secret or a sender's key are left out: nothing
 * uses them.
 */
#ifndef ROUNDS_COMMON_SEAL_HPKE_H
#define ROUNDS_COMMON_SEAL_HPKE_H

#include "common/seal/aead.h"
#include "common/seal/key.h"

#define HPKE_ENC_SIZE KEY_SIZE /* the encapsulated key that goes along */

/* One direction from one sender to one recipient; what it seals must be opened in that order. Wiped by hpke_end. */
struct hpke {
	uint8_t key[AEAD_KEY_SIZE], base_nonce[AEAD_NONCE_SIZE];
	uint64_t sequence;
};

/* `info` must be the same at both ends. */
must_check int hpke_send(struct world *world, struct hpke *hpke, const struct public_key *recipient, struct span info,
	uint8_t enc[HPKE_ENC_SIZE], struct rounds_error *error);
/* The same with a given ephemeral key, which must serve once: for the vectors of the RFC. */
must_check int hpke_send_with(struct hpke *hpke, const struct secret_key *ephemeral,
	const struct public_key *recipient, struct span info, uint8_t enc[HPKE_ENC_SIZE], struct rounds_error *error);
must_check int hpke_receive(struct hpke *hpke, const struct secret_key *recipient, const uint8_t enc[HPKE_ENC_SIZE],
	struct span info, struct rounds_error *error);
void hpke_end(struct hpke *hpke);
static inline void hpke_cleanup(struct hpke *hpke)
{
	hpke_end(hpke);
}

/* As aead_seal and aead_open. What cannot be opened does not count. */
must_check int hpke_seal(
	struct hpke *hpke, struct span aad, struct span plain, uint8_t *out, struct rounds_error *error);
must_check int hpke_open(
	struct hpke *hpke, struct span aad, struct span sealed, uint8_t *out, struct rounds_error *error);

#endif
