/*
 * The certificates that the server shows. They are looked up with each handshake, so that a new one can take its place while
 * the server runs; older ones are kept to the end, since handshakes may be under way with them.
 */
#include "server/http/request.h"

#include "common/clock.h"

#include <stdatomic.h>
#include <string.h>

enum { CHAIN_LIMIT = 8, SHOWN = 2 };

struct identity {
	gnutls_pcert_st chain[CHAIN_LIMIT]; /* its own certificate, and those up to its authority */
	unsigned count;
	gnutls_x509_crt_t leaf;
	gnutls_privkey_t key;
	struct identity *older;
};

/* The library's callback knows no context. By `enum certificate_for`. */
static _Atomic(struct identity *) shown[SHOWN];

static void identity_free(struct identity *identity)
{
	if (!identity)
		return;
	for (unsigned i = 0; i < identity->count; i++)
		gnutls_pcert_deinit(&identity->chain[i]);
	gnutls_x509_crt_deinit(identity->leaf);
	gnutls_privkey_deinit(identity->key);
	free(identity);
}
DEFINE_CLEANUP(struct identity *, identity_free);

static bool is_pair(const struct identity *identity)
{
	uint8_t of_certificate[64], of_key[64];
	size_t a = sizeof(of_certificate), b = sizeof(of_key);
	gnutls_pubkey_t public;
	bool same;

	if (gnutls_pubkey_init(&public))
		return false;
	same = !gnutls_pubkey_import_privkey(public, identity->key, 0, 0) &&
	       !gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, of_key, &b) &&
	       !gnutls_x509_crt_get_key_id(identity->leaf, GNUTLS_KEYID_USE_SHA256, of_certificate, &a) && a == b &&
	       !memcmp(of_certificate, of_key, a);
	gnutls_pubkey_deinit(public);
	return same;
}

static gnutls_datum_t datum(const char *text)
{
	return (gnutls_datum_t){ (unsigned char *)(uintptr_t)text, (unsigned)strlen(text) };
}

int http_show_certificate(
	enum certificate_for whom, const char *certificate_pem, const char *key_pem, struct rounds_error *error)
{
	const gnutls_datum_t certificate = datum(certificate_pem), key = datum(key_pem);
	scoped(identity_free) struct identity *identity = calloc(1, sizeof(*identity));
	unsigned count = CHAIN_LIMIT;

	if (!identity || gnutls_privkey_init(&identity->key) || gnutls_x509_crt_init(&identity->leaf))
		return error_no_memory(error);
	if (gnutls_pcert_list_import_x509_raw(identity->chain, &count, &certificate, GNUTLS_X509_FMT_PEM, 0) ||
		!count)
		return error_set(error, ERROR_INVALID, "the certificate is not one to eight certificates in PEM");
	identity->count = count;
	if (gnutls_x509_crt_import(identity->leaf, &certificate, GNUTLS_X509_FMT_PEM) ||
		gnutls_privkey_import_x509_raw(identity->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0))
		return error_set(error, ERROR_INVALID, "the key is not a private key in PEM without a password");
	if (!is_pair(identity))
		return error_set(error, ERROR_INVALID, "certificate and key do not belong together");
	identity->older = atomic_load(&shown[whom]);
	atomic_store(&shown[whom], identity);
	identity = NULL;
	return 0;
}

int64_t http_certificate_ends(void)
{
	int64_t first = 0;

	for (size_t i = 0; i < SHOWN; i++) {
		struct identity *identity = atomic_load(&shown[i]);
		int64_t ends = identity ? (int64_t)gnutls_x509_crt_get_expiration_time(identity->leaf) * SECOND_US
					: 0;

		if (ends && (!first || ends < first))
			first = ends;
	}
	return first;
}

static struct identity *choose(gnutls_session_t session)
{
	struct identity *named = atomic_load(&shown[CERTIFICATE_BY_NAME]);
	char name[256];
	size_t size = sizeof(name);
	unsigned type;

	if (named && !gnutls_server_name_get(session, name, &size, &type, 0) && type == GNUTLS_NAME_DNS &&
		gnutls_x509_crt_check_hostname(named->leaf, name))
		return named;
	return atomic_load(&shown[CERTIFICATE_FOR_ALL]);
}

int certificate_choose(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
	const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **certificates,
	unsigned *certificate_count, gnutls_privkey_t *key)
{
	struct identity *identity = choose(session);

	(void)authorities;
	(void)authority_count;
	(void)algorithms;
	(void)algorithm_count;
	*certificates = identity->chain;
	*certificate_count = identity->count;
	*key = identity->key;
	return 0;
}

void certificates_forget(void)
{
	for (size_t i = 0; i < SHOWN; i++) {
		struct identity *identity = atomic_exchange(&shown[i], NULL);

		while (identity) {
			struct identity *older = identity->older;

			identity_free(identity);
			identity = older;
		}
	}
}
