/* Held to RFC 9180's vectors; what was changed, or sealed for another, is refused. */
#include "tests/unit/test.h"

#include "common/hex.h"
#include "common/json.h"
#include "common/seal/hpke.h"

enum { ROOM = 200 };

static size_t member(const json_t *object, const char *name, uint8_t *bytes)
{
	const char *text = json_text_or(object, name, "");

	assert_true(strlen(text) / 2 <= ROOM);
	assert_true(hex_parse(text, bytes, strlen(text) / 2));
	return strlen(text) / 2;
}

struct vector {
	json_t *json;
	struct secret_key recipient, ephemeral;
	struct public_key recipient_public;
	uint8_t info[ROOM], enc[ROOM];
	size_t info_size;
};

static struct vector vector_read(void)
{
	struct vector vector = { 0 };
	struct rounds_error error = { 0 };

	assert_int_equal(json_parse_file(ROUNDS_TESTS "/data/hpke/base.json", &vector.json, &error), 0);
	assert_int_equal(member(vector.json, "skRm", vector.recipient.bytes), KEY_SIZE);
	assert_int_equal(member(vector.json, "skEm", vector.ephemeral.bytes), KEY_SIZE);
	assert_int_equal(member(vector.json, "pkRm", vector.recipient_public.bytes), KEY_SIZE);
	assert_int_equal(member(vector.json, "enc", vector.enc), HPKE_ENC_SIZE);
	vector.info_size = member(vector.json, "info", vector.info);
	return vector;
}

static void encryption_matches(struct hpke *sender, struct hpke *recipient, const json_t *expected)
{
	struct rounds_error error = { 0 };
	uint8_t aad[ROOM], plain[ROOM], sealed[ROOM], out[ROOM], opened[ROOM];
	size_t aad_size = member(expected, "aad", aad), size = member(expected, "pt", plain);

	assert_int_equal(member(expected, "ct", sealed), size + AEAD_TAG_SIZE);
	assert_int_equal(
		hpke_seal(sender, (struct span){ aad, aad_size }, (struct span){ plain, size }, out, &error), 0);
	assert_memory_equal(out, sealed, size + AEAD_TAG_SIZE);
	assert_int_equal(hpke_open(recipient, (struct span){ aad, aad_size },
				 (struct span){ sealed, size + AEAD_TAG_SIZE }, opened, &error),
		0);
	assert_memory_equal(opened, plain, size);
}

static void the_vectors_of_the_rfc(void **state)
{
	struct vector vector = vector_read();
	struct rounds_error error = { 0 };
	struct span info = { vector.info, vector.info_size };
	scoped(hpke) struct hpke sender, recipient;
	uint8_t enc[HPKE_ENC_SIZE], key[ROOM], nonce[ROOM];
	size_t i;
	const json_t *expected;

	assert_int_equal(hpke_send_with(&sender, &vector.ephemeral, &vector.recipient_public, info, enc, &error), 0);
	assert_memory_equal(enc, vector.enc, HPKE_ENC_SIZE);
	assert_int_equal(hpke_receive(&recipient, &vector.recipient, enc, info, &error), 0);
	member(vector.json, "key", key);
	member(vector.json, "base_nonce", nonce);
	assert_memory_equal(sender.key, key, AEAD_KEY_SIZE);
	assert_memory_equal(sender.base_nonce, nonce, AEAD_NONCE_SIZE);
	assert_int_equal(json_array_size(json_object_get(vector.json, "encryptions")), 6);
	json_array_foreach (json_object_get(vector.json, "encryptions"), i, expected) {
		sender.sequence = recipient.sequence = (uint64_t)json_integer_or(expected, "sequence", -1);
		encryption_matches(&sender, &recipient, expected);
	}
	assert_int_equal(sender.sequence, 257);
	json_decref(vector.json);
}

static void one_sealed(struct vector *vector, uint8_t enc[HPKE_ENC_SIZE], uint8_t sealed[ROOM])
{
	struct rounds_error error = { 0 };
	scoped(hpke) struct hpke sender;

	assert_int_equal(
		hpke_send(world_real(), &sender, &vector->recipient_public, span_of("from a to b"), enc, &error), 0);
	assert_int_equal(hpke_seal(&sender, span_of("aad"), span_of("sixteen letters!"), sealed, &error), 0);
}

static int one_opened(struct vector *vector, const uint8_t enc[HPKE_ENC_SIZE], const char *info, const char *aad,
	const uint8_t *sealed, size_t size, struct rounds_error *error)
{
	scoped(hpke) struct hpke recipient;
	uint8_t opened[ROOM];

	if (hpke_receive(&recipient, &vector->recipient, enc, span_of(info), error) ||
		hpke_open(&recipient, span_of(aad), (struct span){ sealed, size }, opened, error))
		return -1;
	assert_memory_equal(opened, "sixteen letters!", 16);
	return 0;
}

static void what_was_changed_is_refused(void **state)
{
	struct vector vector = vector_read();
	struct rounds_error error = { 0 };
	uint8_t enc[HPKE_ENC_SIZE], sealed[ROOM];

	one_sealed(&vector, enc, sealed);
	assert_int_equal(one_opened(&vector, enc, "from a to b", "aad", sealed, 32, &error), 0);
	assert_int_equal(one_opened(&vector, enc, "from c to b", "aad", sealed, 32, &error), -1);
	assert_int_equal(error.kind, ERROR_CHECKSUM);
	assert_int_equal(one_opened(&vector, enc, "from a to b", "aae", sealed, 32, &error), -1);
	assert_int_equal(one_opened(&vector, enc, "from a to b", "aad", sealed, 31, &error), -1);
	assert_int_equal(one_opened(&vector, enc, "from a to b", "aad", sealed, 15, &error), -1);
	for (size_t i = 0; i < 32; i++) {
		sealed[i] ^= 1;
		assert_int_equal(one_opened(&vector, enc, "from a to b", "aad", sealed, 32, &error), -1);
		sealed[i] ^= 1;
		enc[i] ^= 1;
		assert_int_equal(one_opened(&vector, enc, "from a to b", "aad", sealed, 32, &error), -1);
		enc[i] ^= 1;
	}
	vector.recipient.bytes[5] ^= 1;
	assert_int_equal(one_opened(&vector, enc, "from a to b", "aad", sealed, 32, &error), -1);
	json_decref(vector.json);
}

/* RFC 7748, 6.1, and RFC 9180, 7.1.4: a key of small order makes a secret that everybody knows. */
static void keys_of_small_order_are_refused(void **state)
{
	struct vector vector = vector_read();
	struct rounds_error error = { 0 };
	struct public_key small = { { 0 } };
	scoped(hpke) struct hpke hpke;
	uint8_t enc[HPKE_ENC_SIZE];

	for (uint8_t u = 0; u < 2; u++) {
		small.bytes[0] = u;
		assert_int_equal(hpke_send(world_real(), &hpke, &small, span_of(""), enc, &error), -1);
		assert_int_equal(error.kind, ERROR_INVALID);
		assert_int_equal(hpke_receive(&hpke, &vector.recipient, small.bytes, span_of(""), &error), -1);
		assert_says(error, "small order");
	}
	json_decref(vector.json);
}

/* RFC 8032, 7.1, test 2. */
static void signatures_of_the_rfc(void **state)
{
	struct rounds_error error = { 0 };
	scoped(secret_key) struct secret_key secret;
	struct public_key public_key;
	uint8_t expected[KEY_SIZE], signature[SIGNATURE_SIZE], wanted[SIGNATURE_SIZE], message[1] = { 0x72 };

	assert_true(hex_parse(
		"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", secret.bytes, KEY_SIZE));
	assert_true(
		hex_parse("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", expected, KEY_SIZE));
	assert_true(hex_parse("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
			      "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		wanted, SIGNATURE_SIZE));
	assert_int_equal(signing_public(&secret, &public_key, &error), 0);
	assert_memory_equal(public_key.bytes, expected, KEY_SIZE);
	assert_int_equal(signature_make(&secret, (struct span){ message, 1 }, signature, &error), 0);
	assert_memory_equal(signature, wanted, SIGNATURE_SIZE);
	assert_int_equal(signature_check(&public_key, (struct span){ message, 1 }, signature, &error), 0);
	message[0] ^= 1;
	assert_int_equal(signature_check(&public_key, (struct span){ message, 1 }, signature, &error), -1);
	assert_int_equal(error.kind, ERROR_CHECKSUM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_vectors_of_the_rfc),
		cmocka_unit_test(what_was_changed_is_refused),
		cmocka_unit_test(keys_of_small_order_are_refused),
		cmocka_unit_test(signatures_of_the_rfc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
