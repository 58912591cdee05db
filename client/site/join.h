/* From an invitation to a key, a certificate and a pinned authority in the state directory. */
#ifndef ROUNDS_CLIENT_SITE_JOIN_H
#define ROUNDS_CLIENT_SITE_JOIN_H

#include "common/error.h"

#include <jansson.h>

/* The key never leaves the state directory. ERROR_CONFLICT if the site has joined already. */
must_check int join(const json_t *settings, const char *url, const char *invitation, struct rounds_error *error);

#endif
