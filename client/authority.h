/* How a client comes to trust a server's own certificate authority: by its fingerprint, told on another way. */
#ifndef ROUNDS_CLIENT_AUTHORITY_H
#define ROUNDS_CLIENT_AUTHORITY_H

#include "client/http.h"
#include "common/digest.h"

/* The authority's certificate (PEM; the caller frees) if it has that fingerprint; ERROR_FORBIDDEN if another. */
must_check int authority_fetch(
	const char *url, const char *fingerprint, const char *proxy, char **pem, struct rounds_error *error);

#endif
