#include "common/seal/aead.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);

static int broken(struct rounds_error *error)
{
	return error_set(error, ERROR_INTERNAL, "cannot compute AES-256-GCM");
}

int aead_seal(const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], struct span aad,
	struct span plain, uint8_t *out, struct rounds_error *error)
{
	scoped(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int size = 0;

	if (plain.size > AEAD_LIMIT || aad.size > AEAD_LIMIT)
		return error_set(error, ERROR_TOO_LARGE, "this is too long to be sealed in one piece");
	if (!context || EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) != 1 ||
		(aad.size && EVP_EncryptUpdate(context, NULL, &size, aad.bytes, (int)aad.size) != 1) ||
		(plain.size && EVP_EncryptUpdate(context, out, &size, plain.bytes, (int)plain.size) != 1) ||
		EVP_EncryptFinal_ex(context, out + plain.size, &size) != 1 ||
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, out + plain.size) != 1)
		return broken(error);
	return 0;
}

int aead_open(const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], struct span aad,
	struct span sealed, uint8_t *out, struct rounds_error *error)
{
	scoped(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	size_t plain;
	uint8_t tag[AEAD_TAG_SIZE];
	int size = 0;

	if (sealed.size < AEAD_TAG_SIZE || sealed.size > AEAD_LIMIT || aad.size > AEAD_LIMIT)
		return error_set(error, ERROR_CHECKSUM, "this is too short or too long to be what was sealed");
	plain = sealed.size - AEAD_TAG_SIZE;
	memcpy(tag, (const uint8_t *)sealed.bytes + plain, AEAD_TAG_SIZE);
	if (!context || EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) != 1 ||
		(aad.size && EVP_DecryptUpdate(context, NULL, &size, aad.bytes, (int)aad.size) != 1) ||
		(plain && EVP_DecryptUpdate(context, out, &size, sealed.bytes, (int)plain) != 1) ||
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) != 1)
		return broken(error);
	if (EVP_DecryptFinal_ex(context, out + plain, &size) == 1)
		return 0;
	OPENSSL_cleanse(out, plain);
	return error_set(error, ERROR_CHECKSUM, "this is not what was sealed, or not for this key");
}
