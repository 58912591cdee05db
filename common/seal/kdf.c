#include "common/seal/kdf.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

DEFINE_CLEANUP(EVP_MAC *, EVP_MAC_free);
DEFINE_CLEANUP(EVP_MAC_CTX *, EVP_MAC_CTX_free);

struct span span_of(const char *text)
{
	return (struct span){ text, strlen(text) };
}

static int hmac(
	struct span key, const struct span *parts, size_t count, uint8_t out[KDF_SIZE], struct rounds_error *error)
{
	char sha256[] = "SHA256";
	const OSSL_PARAM params[] = { OSSL_PARAM_utf8_string("digest", sha256, sizeof(sha256) - 1), OSSL_PARAM_END };
	scoped(EVP_MAC_free) EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	scoped(EVP_MAC_CTX_free) EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;
	size_t size = 0;
	int done = context && EVP_MAC_init(context, key.size ? key.bytes : "", key.size, params) == 1;

	for (size_t i = 0; done && i < count; i++)
		done = EVP_MAC_update(context, parts[i].bytes, parts[i].size) == 1;
	if (!done || EVP_MAC_final(context, out, &size, KDF_SIZE) != 1 || size != KDF_SIZE)
		return error_set(error, ERROR_INTERNAL, "cannot compute an HMAC");
	return 0;
}

int kdf_extract(
	struct span salt, const struct span *parts, size_t count, uint8_t key[KDF_SIZE], struct rounds_error *error)
{
	static const uint8_t none[KDF_SIZE];

	return hmac(salt.size ? salt : (struct span){ none, KDF_SIZE }, parts, count, key, error);
}

int kdf_expand(const uint8_t key[KDF_SIZE], const struct span *parts, size_t count, uint8_t *out, size_t size,
	struct rounds_error *error)
{
	enum { PARTS = 8 };
	static const uint8_t first = 1;
	struct span all[PARTS + 1];
	uint8_t block[KDF_SIZE];
	int failed;

	if (count > PARTS || size > KDF_SIZE)
		return error_set(error, ERROR_INTERNAL, "more is asked of a key derivation than it gives");
	memcpy(all, parts, count * sizeof(*parts));
	all[count] = (struct span){ &first, 1 };
	failed = hmac((struct span){ key, KDF_SIZE }, all, count + 1, block, error);
	if (!failed)
		memcpy(out, block, size);
	OPENSSL_cleanse(block, sizeof(block));
	return failed;
}
