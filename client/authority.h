/* How a client comes to trust a server's own certificate authority: by its fingerprint, told on another way. */
#ifndef ROUNDS_CLIENT_AUTHORITY_H
#define ROUNDS_CLIENT_AUTHORITY_H

#include "client/http.h"
#include "common/digest.h"

/*
 * The authority's certificate (PEM; the caller frees) if it has that fingerprint; ERROR_FORBIDDEN if another. It is the one
 * that was hashed and nothing else: an answer with more in it is refused, since all of it would be trusted.
 */
must_check int authority_fetch(
	const char *url, const char *fingerprint, const char *proxy, char **pem, struct rounds_error *error);

#endif
