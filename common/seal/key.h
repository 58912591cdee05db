/*
 * The two kinds of keys that sites have for each other: Ed25519 (RFC 8032) to sign, X25519 (RFC 7748) to be sealed to. Raw bytes
 * of 32, through OpenSSL. A secret key is wiped with secret_wipe when its scope ends.
 */
#ifndef ROUNDS_COMMON_SEAL_KEY_H
#define ROUNDS_COMMON_SEAL_KEY_H

#include "common/seal/kdf.h"
#include "common/world.h"

#define KEY_SIZE       32
#define SIGNATURE_SIZE 64

struct secret_key {
	uint8_t bytes[KEY_SIZE];
};
struct public_key {
	uint8_t bytes[KEY_SIZE];
};

/* Any 32 random bytes are a secret key of either kind. */
void secret_new(struct world *world, struct secret_key *secret);
void secret_wipe(struct secret_key *secret);
/* scoped(secret_key) struct secret_key secret; */
static inline void secret_key_cleanup(struct secret_key *secret)
{
	secret_wipe(secret);
}

must_check int signing_public(
	const struct secret_key *secret, struct public_key *public_key, struct rounds_error *error);
must_check int signature_make(const struct secret_key *secret, struct span message, uint8_t signature[SIGNATURE_SIZE],
	struct rounds_error *error);
/* ERROR_CHECKSUM unless it is that key's signature of this message. */
must_check int signature_check(const struct public_key *key, struct span message,
	const uint8_t signature[SIGNATURE_SIZE], struct rounds_error *error);

must_check int sealing_public(
	const struct secret_key *secret, struct public_key *public_key, struct rounds_error *error);
/* What both ends compute alike. ERROR_INVALID for a public key of small order, which would make it zero (RFC 7748, 6.1). */
must_check int sealing_agree(const struct secret_key *secret, const struct public_key *other,
	struct secret_key *shared, struct rounds_error *error);

#endif
