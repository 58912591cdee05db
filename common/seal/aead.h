/* AES-256-GCM (NIST SP 800-38D), a message at a time. A key must never meet the same nonce twice: that is the caller's to see to. */
#ifndef ROUNDS_COMMON_SEAL_AEAD_H
#define ROUNDS_COMMON_SEAL_AEAD_H

#include "common/seal/kdf.h"

#define AEAD_KEY_SIZE   32
#define AEAD_NONCE_SIZE 12
#define AEAD_TAG_SIZE   16
#define AEAD_LIMIT      (1 << 30) /* bytes of one message: OpenSSL counts in int */

/* `out` takes plain.size + AEAD_TAG_SIZE bytes. */
must_check int aead_seal(const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], struct span aad,
	struct span plain, uint8_t *out, struct rounds_error *error);

/* `out` takes sealed.size - AEAD_TAG_SIZE bytes, and holds zeros unless this returns 0. ERROR_CHECKSUM: not what was sealed. */
must_check int aead_open(const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], struct span aad,
	struct span sealed, uint8_t *out, struct rounds_error *error);

#endif
