/*
 * The server's directory of sites' keys. It passes on what sites say, and no site takes its word for it: they pin what their
 * administrators have compared. What it checks keeps out mistakes: a state directory that was restored from an older copy, keys
 * that were lost and made anew, a second machine that has a site's certificate and not its keys.
 */
#ifndef ROUNDS_SERVER_ENGINE_SITE_KEYS_H
#define ROUNDS_SERVER_ENGINE_SITE_KEYS_H

#include "server/store/store.h"

#include <stdbool.h>

#define SITE_KEYS_SHOWN 16 /* statements of a site, the newest, that others are told */

/* Whether the newest statement of a claim (`facts`) is the one of the site's row, or the claim has none. */
bool site_keys_are_known(const json_t *site, const json_t *facts);

/*
 * Keeps what is new of a claim's statements. ERROR_INVALID for what is no chain of this site's statements; ERROR_CONFLICT, both
 * with the field `keys`, unless it goes on from what is known.
 */
must_check int site_keys_learn(
	struct store_tx *tx, const char *site, const json_t *statements, struct rounds_error *error);

/* {"fingerprint", "words", "generation"} for people to compare; null for no statement (NULL). A new reference. */
json_t *site_keys_shown(const char *statement);

/* [{"site", "statements": [...]}] of all sites, oldest statement first: a new reference. */
must_check int site_keys_of_all(struct store_tx *tx, json_t **sites, struct rounds_error *error);

#endif
