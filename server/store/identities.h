/* Who may speak: sites and their certificates, tokens of people and scripts. */
#ifndef ROUNDS_SERVER_STORE_IDENTITIES_H
#define ROUNDS_SERVER_STORE_IDENTITIES_H

#include "server/store/store.h"

#include <stdbool.h>

/*
 * Sites. One that was removed, and is admitted again, takes part again; one that is there is another machine from now on,
 * and drains on if it did.
 */
struct new_site {
	const char *name, *serial;
	int64_t expires_us; /* of its certificate, wall time */
};
must_check int site_admit(struct store_tx *tx, const struct new_site *site, struct rounds_error *error);
/* A new certificate, asked for with the one whose serial is `with`: both are the site's from now on. */
must_check int site_renew(
	struct store_tx *tx, const struct new_site *site, const char *with, struct rounds_error *error);
must_check int site_find(struct store_tx *tx, const char *name, json_t **site, struct rounds_error *error);
must_check int site_list(struct store_tx *tx, json_t **sites, struct rounds_error *error);
/* Of the others, when the first certificate ends; INT64_MAX if there are none. */
must_check int site_count_health(
	struct store_tx *tx, int64_t *removed, int64_t *first_end, struct rounds_error *error);
/* {"name", "state", "serial", "old_serial"} of each. */
must_check int site_list_serials(struct store_tx *tx, json_t **sites, struct rounds_error *error);
/* "active", "draining" (no new job; where it is called off, no work at all) or "removed". */
must_check int site_set_state(
	struct store_tx *tx, const char *name, const char *state, bool called_off, struct rounds_error *error);
struct site_standing {
	int64_t protocol; /* the version that it speaks; 0: it has not said yet */
	bool drains, is_called_off;
};
must_check int site_standing(
	struct store_tx *tx, const char *name, struct site_standing *standing, struct rounds_error *error);
/* What it says of itself when it asks for work. */
must_check int site_describe(struct store_tx *tx, const char *name, const json_t *facts, struct rounds_error *error);
/* Weights that it has fetched and delivered, and its round trip; 0: not known. */
must_check int site_moved(struct store_tx *tx, const char *name, int64_t received, int64_t sent, int64_t rtt_us,
	struct rounds_error *error);
/* Slots that running jobs do not take. */
must_check int site_free_slots(struct store_tx *tx, const char *name, int64_t *slots, struct rounds_error *error);

/* What a caller has shown, as the store knows it: a token's id, the digest of a session, a certificate's serial number. */
struct credential {
	const char *kind; /* "token", "session" or "certificate" */
	const char *key, *name, *role;
};

/* Tokens are known by the digest of their secret alone. */
struct new_token {
	const char *id, *name, *role, *hash;
	int64_t expires_us;             /* 0: never */
	const struct credential *maker; /* NULL: this machine's administrator */
};
must_check int token_insert(struct store_tx *tx, const struct new_token *token, struct rounds_error *error);
must_check int token_list(struct store_tx *tx, json_t **tokens, struct rounds_error *error);
/* For auth alone: {"id", "name", "role", "hash", "expires_us"} of each. */
must_check int token_list_secrets(struct store_tx *tx, json_t **tokens, struct rounds_error *error);
/* {"id", "role"} of those that an account has made, itself or with a token that it had made. */
must_check int token_list_made_by(
	struct store_tx *tx, const char *account, json_t **tokens, struct rounds_error *error);
must_check int token_delete(struct store_tx *tx, const char *id, struct rounds_error *error);

/* ERROR_UNAUTHENTICATED if it no longer gives that name that role. */
must_check int credential_check(struct store_tx *tx, const struct credential *credential, struct rounds_error *error);

#endif
