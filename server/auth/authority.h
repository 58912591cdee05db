/*
 * The server's certificate authority and its own certificate, as files of the data directory:
 *
 *     DIR/ca.pem ca.key           the authority, made once by `rounds-server init`
 *     DIR/server.pem server.key   what the server shows; made anew when it nears its end or its hosts change
 */
#ifndef ROUNDS_SERVER_AUTH_AUTHORITY_H
#define ROUNDS_SERVER_AUTH_AUTHORITY_H

#include "common/digest.h"
#include "common/error.h"
#include "common/world.h"
#include "common/x509.h"

#include <jansson.h>
#include <stdbool.h>

struct authority {
	struct world *world; /* when its server's certificate is due; those themselves go by the machine's clock */
	char *ca_pem, *ca_key, *server_pem, *server_key;
	char fingerprint[DIGEST_TEXT_SIZE];
};

/* Makes the files; ERROR_CONFLICT if there is an authority already. */
must_check int authority_create(const char *directory, struct rounds_error *error);

/* `hosts` (an array of names and addresses) are those by which sites reach this server. */
must_check int authority_load(const char *directory, const json_t *hosts, struct world *world,
	struct authority *authority, struct rounds_error *error);
/* Whether the server's own certificate nears its end; a new one in its place, in memory and in the directory. */
bool authority_server_is_due(const struct authority *authority);
must_check int authority_renew_server(
	const char *directory, const json_t *hosts, struct authority *authority, struct rounds_error *error);
void authority_free(struct authority *authority);

/* A certificate for a site, from its request: the caller frees *cert_pem. */
must_check int authority_certify(const struct authority *authority, const char *site, const char *request_pem,
	char **cert_pem, struct certificate_facts *facts, struct rounds_error *error);

#endif
