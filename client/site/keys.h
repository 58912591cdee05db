/*
 * This site's own keys for other sites: an identity key that signs and a key that it is sealed to. They are made when the site
 * joins, or when a daemon first starts that knows of them, and never leave the state directory:
 *
 *     STATE/site.keys, for its owner alone:
 *         rounds-site keys 1
 *         identity HEX        the secrets
 *         sealing HEX
 *         statement HEX       what was said of them, oldest first (common/seal/site_keys.h); the last is of these secrets
 *
 * The file is replaced as a whole and durably, so keys and statements are always of one generation. An older copy of it does not
 * go unnoticed: server and peers know the newest generation.
 */
#ifndef ROUNDS_CLIENT_SITE_KEYS_H
#define ROUNDS_CLIENT_SITE_KEYS_H

#include "common/seal/site_keys.h"

#include <jansson.h>

#define KEYS_STATEMENTS 16 /* that are kept and told: as many changes a peer may have missed */

struct own_keys {
	struct site_secrets secrets;
	struct statement statements[KEYS_STATEMENTS];
	size_t count;
};
void own_keys_wipe(struct own_keys *keys);
static inline void own_keys_cleanup(struct own_keys *keys)
{
	own_keys_wipe(keys);
}

/* Those of the state directory, made if there are none yet. ERROR_CONFLICT if they are another site's, ERROR_INVALID if damaged. */
must_check int keys_open(const json_t *settings, const char *site, struct own_keys *keys, struct rounds_error *error);

/* New secrets of both kinds, their statement signed with the old identity key; the old ones are gone when it returns. */
must_check int keys_renew(
	const json_t *settings, const char *site, struct own_keys *keys, struct rounds_error *error);

/* The statements for a claim: a new reference; NULL without memory. */
json_t *keys_told(const struct own_keys *keys);

#endif
