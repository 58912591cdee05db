/*
 * Keys and certificates (RFC 5280), through OpenSSL: ECDSA on P-256, PEM text on the outside.
 * Every returned text is the caller's to free; key texts are secrets.
 */
#ifndef ROUNDS_COMMON_X509_H
#define ROUNDS_COMMON_X509_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIAL_TEXT_SIZE 41

must_check int key_new(char **key_pem, struct rounds_error *error);

/* A self-signed authority that may sign end certificates only. */
must_check int authority_new(
	const char *name, const char *key_pem, int days, char **cert_pem, struct rounds_error *error);

/* A request (PKCS #10) for `name`, signed with the key. */
must_check int certificate_request(
	const char *name, const char *key_pem, char **request_pem, struct rounds_error *error);

enum certificate_use { CERTIFICATE_SERVER, CERTIFICATE_SITE };

struct certificate_order {
	const char *authority_pem;
	const char *authority_key_pem;
	const char *request_pem; /* its signature is checked; its subject is not believed */
	const char *name;        /* the common name that is certified */
	enum certificate_use use;
	const char *const *hosts; /* server: DNS names and addresses; NULL-terminated, or NULL */
	int64_t days;
};

struct certificate_facts {
	char name[64];
	char serial[SERIAL_TEXT_SIZE];       /* hexadecimal */
	int64_t not_before_us, not_after_us; /* wall time */
};

must_check int certificate_issue(const struct certificate_order *order, char **cert_pem,
	struct certificate_facts *facts, struct rounds_error *error);

must_check int certificate_read(const char *cert_pem, struct certificate_facts *facts, struct rounds_error *error);

/* Signed by the authority, and the key belongs to it. Times are not looked at. */
must_check int certificate_check(
	const char *cert_pem, const char *authority_pem, const char *key_pem, struct rounds_error *error);

/*
 * One certificate that came from elsewhere, encoded anew: ERROR_INVALID if anything stands before or behind it. What is
 * written to disk to be trusted is this and never the text that came, in which whoever reads it may find more than was
 * looked at.
 */
must_check int certificate_alone(const char *pem, char **cert_pem, struct rounds_error *error);

/* `sha256:` and the digest of the certificate's DER bytes. */
must_check int certificate_fingerprint(const char *cert_pem, char *text, size_t size, struct rounds_error *error);

#endif
