#include "common/x509.h"

#include "common/clock.h"
#include "common/digest.h"
#include "common/text.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free);
DEFINE_CLEANUP(X509 *, X509_free);
DEFINE_CLEANUP(X509_REQ *, X509_REQ_free);
DEFINE_CLEANUP(BIO *, BIO_free_all);
DEFINE_CLEANUP(X509_EXTENSION *, X509_EXTENSION_free);

static int crypto_error(struct rounds_error *error, const char *what)
{
	char reason[200];

	ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
	ERR_clear_error();
	return error_set(error, ERROR_INVALID, "%s: %s", what, reason);
}

static char *bio_text(BIO *bio)
{
	char *bytes;
	long size = BIO_get_mem_data(bio, &bytes);

	return size > 0 ? strndup(bytes, (size_t)size) : NULL;
}

static EVP_PKEY *key_parse(const char *pem)
{
	scoped(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);

	return bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
}

static X509 *certificate_parse(const char *pem)
{
	scoped(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);

	return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

int key_new(char **key_pem, struct rounds_error *error)
{
	scoped(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
	scoped(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());

	if (!key || !bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return crypto_error(error, "cannot make a key");
	*key_pem = bio_text(bio);
	return *key_pem ? 0 : error_no_memory(error);
}

static int name_fill(X509_NAME *subject, const char *name)
{
	return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
}

static int extension_add(X509 *certificate, X509 *issuer, int id, const char *value)
{
	X509V3_CTX context;
	scoped(X509_EXTENSION_free) X509_EXTENSION *extension = NULL;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, id, value);
	return extension && X509_add_ext(certificate, extension, -1);
}

/* A random serial of 126 bits, positive, and validity from five minutes ago: clocks differ. */
static int certificate_begin(X509 *certificate, int64_t days)
{
	unsigned char serial[16];
	BIGNUM *number;
	int done;

	if (RAND_bytes(serial, sizeof(serial)) != 1)
		return 0;
	serial[0] = (unsigned char)((serial[0] & 0x3f) | 0x20);
	number = BN_bin2bn(serial, sizeof(serial), NULL);
	done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) &&
	       X509_set_version(certificate, X509_VERSION_3) &&
	       X509_gmtime_adj(X509_getm_notBefore(certificate), -300) &&
	       X509_time_adj_ex(X509_getm_notAfter(certificate), (int)days, 0, NULL);
	BN_free(number);
	return done;
}

static int certificate_text(X509 *certificate, char **pem, struct rounds_error *error)
{
	scoped(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509(bio, certificate))
		return crypto_error(error, "cannot write a certificate");
	*pem = bio_text(bio);
	return *pem ? 0 : error_no_memory(error);
}

int authority_new(const char *name, const char *key_pem, int days, char **cert_pem, struct rounds_error *error)
{
	scoped(EVP_PKEY_free) EVP_PKEY *key = key_parse(key_pem);
	scoped(X509_free) X509 *certificate = X509_new();

	if (!key || !certificate || !certificate_begin(certificate, days) ||
		!name_fill(X509_get_subject_name(certificate), name) ||
		!X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) ||
		!X509_set_pubkey(certificate, key) ||
		!extension_add(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
		!extension_add(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") ||
		!extension_add(certificate, certificate, NID_subject_key_identifier, "hash") ||
		!X509_sign(certificate, key, EVP_sha256()))
		return crypto_error(error, "cannot make a certificate authority");
	return certificate_text(certificate, cert_pem, error);
}

int certificate_request(const char *name, const char *key_pem, char **request_pem, struct rounds_error *error)
{
	scoped(EVP_PKEY_free) EVP_PKEY *key = key_parse(key_pem);
	scoped(X509_REQ_free) X509_REQ *request = X509_REQ_new();
	scoped(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());

	if (!key || !request || !bio || !name_fill(X509_REQ_get_subject_name(request), name) ||
		!X509_REQ_set_pubkey(request, key) || !X509_REQ_sign(request, key, EVP_sha256()) ||
		!PEM_write_bio_X509_REQ(bio, request))
		return crypto_error(error, "cannot make a certificate request");
	*request_pem = bio_text(bio);
	return *request_pem ? 0 : error_no_memory(error);
}

static char *alternative_names(const char *const *hosts)
{
	char *text = strdup("");

	for (; text && hosts && *hosts; hosts++) {
		bool address = strspn(*hosts, "0123456789.") == strlen(*hosts) || strchr(*hosts, ':');
		char *longer = text_new("%s%s%s:%s", text, *text ? "," : "", address ? "IP" : "DNS", *hosts);

		free(text);
		text = longer;
	}
	return text;
}

/* The requested key, once the request is proven to be signed with it and strong enough. */
static EVP_PKEY *request_key(const char *pem, struct rounds_error *error)
{
	scoped(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);
	scoped(X509_REQ_free) X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = request ? X509_REQ_get_pubkey(request) : NULL;

	if (!key || X509_REQ_verify(request, key) != 1) {
		crypto_error(error, "the certificate request is not valid");
		EVP_PKEY_free(key);
		return NULL;
	}
	if (EVP_PKEY_get_security_bits(key) < 112) {
		error_set(error, ERROR_INVALID, "the key of the certificate request is too weak: use ECDSA on P-256");
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

int certificate_issue(const struct certificate_order *order, char **cert_pem, struct certificate_facts *facts,
	struct rounds_error *error)
{
	scoped(X509_free) X509 *authority = certificate_parse(order->authority_pem);
	scoped(X509_free) X509 *certificate = X509_new();
	scoped(EVP_PKEY_free) EVP_PKEY *authority_key = key_parse(order->authority_key_pem);
	scoped(EVP_PKEY_free) EVP_PKEY *key = request_key(order->request_pem, error);
	scoped(text_free) char *names = alternative_names(order->hosts);
	const char *purpose = order->use == CERTIFICATE_SITE ? "clientAuth" : "serverAuth";

	if (!key)
		return -1;
	if (!authority || !authority_key || !certificate || !names || !certificate_begin(certificate, order->days) ||
		!name_fill(X509_get_subject_name(certificate), order->name) ||
		!X509_set_issuer_name(certificate, X509_get_subject_name(authority)) ||
		!X509_set_pubkey(certificate, key) ||
		!extension_add(certificate, authority, NID_basic_constraints, "critical,CA:FALSE") ||
		!extension_add(certificate, authority, NID_key_usage, "critical,digitalSignature") ||
		!extension_add(certificate, authority, NID_ext_key_usage, purpose) ||
		!extension_add(certificate, authority, NID_subject_key_identifier, "hash") ||
		!extension_add(certificate, authority, NID_authority_key_identifier, "keyid") ||
		(*names && !extension_add(certificate, authority, NID_subject_alt_name, names)) ||
		!X509_sign(certificate, authority_key, EVP_sha256()))
		return crypto_error(error, "cannot issue a certificate");
	if (certificate_text(certificate, cert_pem, error))
		return -1;
	return certificate_read(*cert_pem, facts, error);
}

static int64_t time_us(const ASN1_TIME *time)
{
	struct tm utc;

	return ASN1_TIME_to_tm(time, &utc) == 1 ? (int64_t)timegm(&utc) * SECOND_US : 0;
}

int certificate_read(const char *cert_pem, struct certificate_facts *facts, struct rounds_error *error)
{
	scoped(X509_free) X509 *certificate = certificate_parse(cert_pem);
	BIGNUM *number;
	char *serial;

	if (!certificate)
		return crypto_error(error, "not a certificate");
	if (X509_NAME_get_text_by_NID(
		    X509_get_subject_name(certificate), NID_commonName, facts->name, sizeof(facts->name)) < 0)
		return error_set(error, ERROR_INVALID, "the certificate has no common name");
	number = ASN1_INTEGER_to_BN(X509_get_serialNumber(certificate), NULL);
	serial = number ? BN_bn2hex(number) : NULL;
	snprintf(facts->serial, sizeof(facts->serial), "%s", serial ? serial : "");
	OPENSSL_free(serial);
	BN_free(number);
	facts->not_before_us = time_us(X509_get0_notBefore(certificate));
	facts->not_after_us = time_us(X509_get0_notAfter(certificate));
	return 0;
}

int certificate_check(
	const char *cert_pem, const char *authority_pem, const char *key_pem, struct rounds_error *error)
{
	scoped(X509_free) X509 *certificate = certificate_parse(cert_pem);
	scoped(X509_free) X509 *authority = certificate_parse(authority_pem);
	scoped(EVP_PKEY_free) EVP_PKEY *key = key_parse(key_pem);

	if (!certificate || !authority || !key)
		return crypto_error(error, "not a certificate, authority and key");
	if (X509_verify(certificate, X509_get0_pubkey(authority)) != 1)
		return crypto_error(error, "the certificate is not signed by the authority");
	if (X509_check_private_key(certificate, key) != 1)
		return crypto_error(error, "the key does not belong to the certificate");
	return 0;
}

int certificate_alone(const char *pem, char **cert_pem, struct rounds_error *error)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----", white[] = " \t\r\n";
	scoped(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);
	scoped(X509_free) X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	const char *rest;
	long size;

	if (!certificate)
		return crypto_error(error, "not a certificate");
	size = BIO_get_mem_data(bio, &rest);
	if (strncmp(pem + strspn(pem, white), begin, strlen(begin)) != 0 || strspn(rest, white) != (size_t)size)
		return error_set(error, ERROR_INVALID, "there is more than one certificate where one belongs");
	return certificate_text(certificate, cert_pem, error);
}

int certificate_fingerprint(const char *cert_pem, char *text, size_t size, struct rounds_error *error)
{
	scoped(X509_free) X509 *certificate = certificate_parse(cert_pem);
	unsigned char *der = NULL;
	struct digest digest;
	char digest_text[DIGEST_TEXT_SIZE];
	int length = certificate ? i2d_X509(certificate, &der) : -1;

	if (length <= 0)
		return crypto_error(error, "not a certificate");
	digest_of(der, (size_t)length, &digest);
	OPENSSL_free(der);
	digest_format(&digest, digest_text);
	snprintf(text, size, "%s", digest_text);
	return 0;
}
