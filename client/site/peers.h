/* The commands about keys: this site's own, and those of the others (pins.h). */
#ifndef ROUNDS_CLIENT_SITE_PEERS_H
#define ROUNDS_CLIENT_SITE_PEERS_H

#include "common/error.h"

#include <jansson.h>

/* Shows this site's fingerprint. */
must_check int own_keys_show(const json_t *settings, struct rounds_error *error);
/* Makes new keys, signed with the old one. ERROR_UNAVAILABLE while the daemon runs, which has told the old ones. */
must_check int own_keys_change(const json_t *settings, struct rounds_error *error);

/* Asks the server for all sites' keys and shows what each is to this site. ERROR_CONFLICT if some are refused. */
must_check int peers_show(const json_t *settings, struct rounds_error *error);
/* `site` NULL: all that were shown and are new. */
must_check int peers_confirm(const json_t *settings, const char *site, struct rounds_error *error);
must_check int peers_revoke(const json_t *settings, const char *site, struct rounds_error *error);

#endif
