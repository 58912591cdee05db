/*
 * The certificate that the server shows. It is looked up with each handshake, so that a new one can take its place while
 * the server runs; older ones are kept to the end, since handshakes may be under way with them.
 */
#include "server/http/request.h"

#include "common/x509.h"

#include <stdatomic.h>
#include <string.h>

struct identity {
	gnutls_pcert_st certificate;
	gnutls_privkey_t key;
	int64_t ends; /* wall time */
	struct identity *older;
};

/* The library's callback knows no context. */
static _Atomic(struct identity *) shown;

int http_show_certificate(const char *certificate_pem, const char *key_pem, struct rounds_error *error)
{
	gnutls_datum_t certificate = { (unsigned char *)(uintptr_t)certificate_pem,
		(unsigned)strlen(certificate_pem) };
	gnutls_datum_t key = { (unsigned char *)(uintptr_t)key_pem, (unsigned)strlen(key_pem) };
	struct identity *identity = calloc(1, sizeof(*identity));
	struct certificate_facts facts;

	if (!identity || gnutls_privkey_init(&identity->key)) {
		free(identity);
		return error_no_memory(error);
	}
	if (gnutls_pcert_import_x509_raw(&identity->certificate, &certificate, GNUTLS_X509_FMT_PEM, 0) ||
		gnutls_privkey_import_x509_raw(identity->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0)) {
		gnutls_privkey_deinit(identity->key);
		free(identity);
		return error_set(error, ERROR_INTERNAL, "the server's own certificate cannot be read");
	}
	identity->ends = certificate_read(certificate_pem, &facts, error) ? 0 : facts.not_after_us;
	identity->older = atomic_load(&shown);
	atomic_store(&shown, identity);
	return 0;
}

int64_t http_certificate_ends(void)
{
	struct identity *identity = atomic_load(&shown);

	return identity ? identity->ends : 0;
}

int certificate_choose(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
	const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **certificates,
	unsigned *certificate_count, gnutls_privkey_t *key)
{
	struct identity *identity = atomic_load(&shown);

	(void)session;
	(void)authorities;
	(void)authority_count;
	(void)algorithms;
	(void)algorithm_count;
	*certificates = &identity->certificate;
	*certificate_count = 1;
	*key = identity->key;
	return 0;
}

void certificates_forget(void)
{
	struct identity *identity = atomic_exchange(&shown, NULL);

	while (identity) {
		struct identity *older = identity->older;

		gnutls_pcert_deinit(&identity->certificate);
		gnutls_privkey_deinit(identity->key);
		free(identity);
		identity = older;
	}
}
