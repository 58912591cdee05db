#include "common/seal/fingerprint.h"

#include "common/digest.h"
#include "common/hex.h"
#include "common/seal/record.h"

#include <string.h>

int fingerprint_of(
	const struct public_key *identity, uint8_t fingerprint[FINGERPRINT_SIZE], struct rounds_error *error)
{
	static const struct record_field fields[] = {
		{ "identity", RECORD_BYTES, 0, KEY_SIZE },
		{ NULL },
	};
	static const struct record record = { "rounds identity 1", fields, KEY_SIZE };
	uint8_t bytes[RECORD_LIMIT];
	struct digest digest;
	size_t size;

	if (record_encode(&record, identity->bytes, bytes, &size, error))
		return -1;
	digest_of(bytes, size, &digest);
	memcpy(fingerprint, digest.bytes, FINGERPRINT_SIZE);
	return 0;
}

void fingerprint_text(const uint8_t fingerprint[FINGERPRINT_SIZE], char text[FINGERPRINT_TEXT_SIZE])
{
	for (size_t i = 0; i < FINGERPRINT_GROUPS; i++) {
		hex_format(fingerprint + 2 * i, 2, text + 5 * i);
		text[5 * i + 4] = ' ';
	}
	text[FINGERPRINT_TEXT_SIZE - 1] = '\0';
}

void fingerprint_words(const uint8_t fingerprint[FINGERPRINT_SIZE], char words[FINGERPRINT_WORDS_SIZE])
{
	static const char consonants[] = "bdfghjklmnprstvz", vowels[] = "aiou";

	for (size_t i = 0; i < FINGERPRINT_GROUPS; i++) {
		unsigned bits = (unsigned)fingerprint[2 * i] << 8 | fingerprint[2 * i + 1];
		char *word = words + 6 * i;

		word[0] = consonants[bits >> 12];
		word[1] = vowels[bits >> 10 & 3];
		word[2] = consonants[bits >> 6 & 15];
		word[3] = vowels[bits >> 4 & 3];
		word[4] = consonants[bits & 15];
		word[5] = '-';
	}
	words[FINGERPRINT_WORDS_SIZE - 1] = '\0';
}
