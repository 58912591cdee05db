/*
 * What a sealed envelope holds: bytes of any number, sealed and opened in constant memory (64 KiB and some), under a content key
 * that serves once. The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015), as the file format age uses it:
 *
 *     content = chunks; each but the last of 64 KiB of plaintext, and its tag of 16 bytes; only nothing at all has an empty one
 *     nonce   = number of the chunk (11 bytes, big endian), 1 for the last chunk and 0 before
 *     chunk   = AES-256-GCM(HKDF-Expand(content key, "rounds content 1 chunks"), nonce, associated data: "rounds content 1")
 *
 * GCM does not commit to its key: bytes can be made that open to two things under two keys. So the facts hold a commitment to
 * the key, which tells nothing of it, and a digest of the plaintext, salted so that nobody without the key can try guesses:
 *
 *     commitment = HKDF-Expand(content key, "rounds content 1 commitment")
 *     plain      = SHA-256("rounds content 1 plain", HKDF-Expand(content key, "rounds content 1 salt"), plaintext)
 *
 * Whoever is shown the salt and the plaintext, but not the key, can check the digest that the sender signed.
 */
#ifndef ROUNDS_COMMON_SEAL_CONTENT_H
#define ROUNDS_COMMON_SEAL_CONTENT_H

#include "common/digest.h"
#include "common/seal/aead.h"
#include "common/seal/key.h"

#define CONTENT_CHUNK (64 * 1024)
#define CONTENT_LIMIT (UINT64_C(1) << 44) /* bytes of one content */

struct content_facts {
	uint64_t size;                /* of the sealed content, in bytes */
	uint8_t commitment[KDF_SIZE]; /* to the content key */
	struct digest sealed, plain;  /* of the sealed bytes; of the plaintext, salted */
};

/* How many bytes so much plaintext takes, sealed. */
uint64_t content_sealed_size(uint64_t plain_size);

/* Reads `from` to its end and writes the sealed bytes to `to`. `key` must be new, and never serve again. */
must_check int content_seal(
	const struct secret_key *key, int from, int to, struct content_facts *facts, struct rounds_error *error);

/*
 * Opens what lies in `from`, from its beginning, into `to` (-1: only checks it). What was written is to be used only when this
 * returns 0. ERROR_CHECKSUM, saying what is wrong: another key, a chunk that was changed or moved, a cut end, more bytes than
 * the facts say, another plaintext.
 */
must_check int content_open(const struct secret_key *key, const struct content_facts *facts, int from, int to,
	struct rounds_error *error);

#endif
