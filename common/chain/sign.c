/* Signed checkpoints: Ed25519 through OpenSSL. */
#include "common/chain/chain.h"

#include "common/clock.h"
#include "common/text.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

enum { SIGNATURE_BYTES = 64 };

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free);
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free);
DEFINE_CLEANUP(BIO *, BIO_free_all);

static int key_error(struct rounds_error *error, const char *what)
{
	ERR_clear_error(); /* of OpenSSL's words none helps here */
	return error_set(error, ERROR_INVALID, "%s", what);
}

static int key_read(const char *pem, bool is_private, EVP_PKEY **key, struct rounds_error *error)
{
	scoped(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);

	*key = NULL;
	if (bio)
		*key = is_private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)
				  : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	if (*key && EVP_PKEY_get_id(*key) == EVP_PKEY_ED25519)
		return 0;
	EVP_PKEY_free(*key);
	*key = NULL;
	return key_error(error, is_private ? "this is not an Ed25519 private key in PEM"
					   : "this is not an Ed25519 public key in PEM");
}

static int bio_take(BIO *bio, char **text, struct rounds_error *error)
{
	char *bytes;
	long size = BIO_get_mem_data(bio, &bytes);

	*text = size > 0 ? strndup(bytes, (size_t)size) : NULL;
	return *text ? 0 : error_no_memory(error);
}

int chain_key_new(char **private_pem, struct rounds_error *error)
{
	scoped(EVP_PKEY_free) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	scoped(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());

	if (!key || !bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return key_error(error, "cannot make an Ed25519 key");
	return bio_take(bio, private_pem, error);
}

int chain_key_public(const char *private_pem, char **public_pem, struct rounds_error *error)
{
	scoped(EVP_PKEY_free) EVP_PKEY *key = NULL;
	scoped(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());

	if (key_read(private_pem, true, &key, error))
		return -1;
	if (!bio || !PEM_write_bio_PUBKEY(bio, key))
		return key_error(error, "cannot write the public key");
	return bio_take(bio, public_pem, error);
}

static char *signed_text(const char *name, const struct checkpoint *checkpoint)
{
	char link[DIGEST_TEXT_SIZE];

	digest_format(&checkpoint->head.link, link);
	return text_new("rounds checkpoint 1\n%s\n%lld\n%s\n%s\n", name, (long long)checkpoint->head.length, link,
		checkpoint->time);
}

int checkpoint_sign(const char *name, const char *private_pem, int64_t wall_us, struct checkpoint *checkpoint,
	struct rounds_error *error)
{
	scoped(EVP_PKEY_free) EVP_PKEY *key = NULL;
	scoped(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
	scoped(text_free) char *text = NULL;
	unsigned char signature[SIGNATURE_BYTES];
	size_t size = sizeof(signature);

	if (key_read(private_pem, true, &key, error))
		return -1;
	time_format(wall_us, checkpoint->time);
	text = signed_text(name, checkpoint);
	if (!text || !context)
		return error_no_memory(error);
	if (EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
		EVP_DigestSign(context, signature, &size, (const unsigned char *)text, strlen(text)) != 1)
		return key_error(error, "cannot sign");
	EVP_EncodeBlock((unsigned char *)checkpoint->signature, signature, SIGNATURE_BYTES);
	return 0;
}

/* As encoded by us: base64 has several texts for the same bytes. */
static bool signature_parse(const char *text, unsigned char bytes[SIGNATURE_BYTES])
{
	unsigned char decoded[SIGNATURE_BYTES + 2]; /* OpenSSL's decoder also writes what the padding stands for */
	char again[CHAIN_SIGNATURE_SIZE];

	if (strlen(text) != CHAIN_SIGNATURE_SIZE - 1 || EVP_DecodeBlock(decoded, (const unsigned char *)text,
								CHAIN_SIGNATURE_SIZE - 1) != (int)sizeof(decoded))
		return false;
	EVP_EncodeBlock((unsigned char *)again, decoded, SIGNATURE_BYTES);
	memcpy(bytes, decoded, SIGNATURE_BYTES);
	return !strcmp(again, text);
}

int checkpoint_check(
	const char *name, const char *public_pem, const struct checkpoint *checkpoint, struct rounds_error *error)
{
	scoped(EVP_PKEY_free) EVP_PKEY *key = NULL;
	scoped(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
	scoped(text_free) char *text = signed_text(name, checkpoint);
	unsigned char signature[SIGNATURE_BYTES];
	bool good;

	if (key_read(public_pem, false, &key, error))
		return -1;
	if (!text || !context)
		return error_no_memory(error);
	good = signature_parse(checkpoint->signature, signature) &&
	       EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
	       EVP_DigestVerify(context, signature, SIGNATURE_BYTES, (const unsigned char *)text, strlen(text)) == 1;
	ERR_clear_error();
	return good ? 0 : error_set(error, ERROR_CHECKSUM, "the signature is not of this checkpoint");
}
