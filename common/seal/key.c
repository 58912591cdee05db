#include "common/seal/key.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free);
DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free);
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free);

void secret_new(struct world *world, struct secret_key *secret)
{
	world_random(world, secret->bytes, KEY_SIZE);
}

void secret_wipe(struct secret_key *secret)
{
	OPENSSL_cleanse(secret, sizeof(*secret));
}

static int broken(struct rounds_error *error, const char *what)
{
	ERR_clear_error();
	return error_set(error, ERROR_INTERNAL, "%s", what);
}

static int public_of(
	int kind, const struct secret_key *secret, struct public_key *public_key, struct rounds_error *error)
{
	scoped(EVP_PKEY_free) EVP_PKEY *key = EVP_PKEY_new_raw_private_key(kind, NULL, secret->bytes, KEY_SIZE);
	size_t size = KEY_SIZE;

	if (!key || EVP_PKEY_get_raw_public_key(key, public_key->bytes, &size) != 1 || size != KEY_SIZE)
		return broken(error, "cannot compute a public key");
	return 0;
}

int signing_public(const struct secret_key *secret, struct public_key *public_key, struct rounds_error *error)
{
	return public_of(EVP_PKEY_ED25519, secret, public_key, error);
}

int sealing_public(const struct secret_key *secret, struct public_key *public_key, struct rounds_error *error)
{
	return public_of(EVP_PKEY_X25519, secret, public_key, error);
}

int signature_make(const struct secret_key *secret, struct span message, uint8_t signature[SIGNATURE_SIZE],
	struct rounds_error *error)
{
	scoped(EVP_PKEY_free)
		EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret->bytes, KEY_SIZE);
	scoped(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t size = SIGNATURE_SIZE;

	if (!key || !context || EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
		EVP_DigestSign(context, signature, &size, message.bytes, message.size) != 1 || size != SIGNATURE_SIZE)
		return broken(error, "cannot sign");
	return 0;
}

int signature_check(const struct public_key *public_key, struct span message, const uint8_t signature[SIGNATURE_SIZE],
	struct rounds_error *error)
{
	scoped(EVP_PKEY_free)
		EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key->bytes, KEY_SIZE);
	scoped(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
	int right = key && context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
		    EVP_DigestVerify(context, signature, SIGNATURE_SIZE, message.bytes, message.size) == 1;

	ERR_clear_error();
	return right ? 0 : error_set(error, ERROR_CHECKSUM, "the signature is not that key's, or not of this");
}

int sealing_agree(const struct secret_key *secret, const struct public_key *other, struct secret_key *shared,
	struct rounds_error *error)
{
	scoped(EVP_PKEY_free)
		EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret->bytes, KEY_SIZE);
	scoped(EVP_PKEY_free)
		EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, other->bytes, KEY_SIZE);
	scoped(EVP_PKEY_CTX_free) EVP_PKEY_CTX *context = own ? EVP_PKEY_CTX_new(own, NULL) : NULL;
	size_t size = KEY_SIZE;

	if (!context || !peer || EVP_PKEY_derive_init(context) != 1 || EVP_PKEY_derive_set_peer(context, peer) != 1)
		return broken(error, "cannot begin a key agreement");
	/* OpenSSL itself fails where the result is zero. */
	if (EVP_PKEY_derive(context, shared->bytes, &size) == 1 && size == KEY_SIZE)
		return 0;
	ERR_clear_error();
	secret_wipe(shared);
	return error_set(error, ERROR_INVALID, "the other end's key is none: it has a small order");
}
