/*
 * The fingerprint of a site's identity key: 160 bits of SHA-256 of the record "rounds identity 1", for two people to read to each
 * other over the telephone. To make another key with the same one takes 2^160 tries.
 *
 * As ten groups of four hexadecimal digits, and as ten words that can be spoken, one for each group (proquints: Wilkerson,
 * arXiv 0901.4016): consonant, vowel, consonant, vowel, consonant.
 */
#ifndef ROUNDS_COMMON_SEAL_FINGERPRINT_H
#define ROUNDS_COMMON_SEAL_FINGERPRINT_H

#include "common/seal/key.h"

#define FINGERPRINT_SIZE       20
#define FINGERPRINT_GROUPS     (FINGERPRINT_SIZE / 2)
#define FINGERPRINT_TEXT_SIZE  (FINGERPRINT_GROUPS * 5) /* "3f2a 91c0 ...", with its NUL */
#define FINGERPRINT_WORDS_SIZE (FINGERPRINT_GROUPS * 6) /* "gutih-tugad-..." */

must_check int fingerprint_of(
	const struct public_key *identity, uint8_t fingerprint[FINGERPRINT_SIZE], struct rounds_error *error);
void fingerprint_text(const uint8_t fingerprint[FINGERPRINT_SIZE], char text[FINGERPRINT_TEXT_SIZE]);
void fingerprint_words(const uint8_t fingerprint[FINGERPRINT_SIZE], char words[FINGERPRINT_WORDS_SIZE]);

#endif
