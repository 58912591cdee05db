/*
 * One-time invitations of sites, known by the digest of their secret alone. A site has at most one that is open: a new
 * one voids the others, and so does the site's removal. Times are wall time in microseconds.
 */
#ifndef ROUNDS_SERVER_STORE_INVITATIONS_H
#define ROUNDS_SERVER_STORE_INVITATIONS_H

#include "server/store/store.h"

#include <stdbool.h>

struct new_invitation {
	const char *id, *hash, *site, *by; /* by: who made it */
	bool replaces;                     /* whoever joins with it takes the place of a site that is there */
	int64_t expires_us;
};
/* ERROR_CONFLICT if the site is there, and the invitation does not say that it replaces. */
must_check int invitation_insert(
	struct store_tx *tx, const struct new_invitation *invitation, struct rounds_error *error);

/* Newest first, at most a thousand; `state` is "open", "used", "void" or "over". */
must_check int invitation_list(struct store_tx *tx, json_t **invitations, struct rounds_error *error);

struct invited {
	char site[64];
	bool replaces; /* there is a site of this name, whose certificate ends when the invitation is used */
};
/* ERROR_UNAUTHENTICATED unless it is open; ERROR_CONFLICT if the site is there and may not be replaced. */
must_check int invitation_find(
	struct store_tx *tx, const char *hash, struct invited *invited, struct rounds_error *error);
/* The same, and uses it up. */
must_check int invitation_use(
	struct store_tx *tx, const char *hash, struct invited *invited, struct rounds_error *error);

/* ERROR_NOT_FOUND unless it is open. */
must_check int invitation_void(struct store_tx *tx, const char *id, struct rounds_error *error);
must_check int invitation_void_all(struct store_tx *tx, const char *site, struct rounds_error *error);

#endif
