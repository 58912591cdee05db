/*
 * People's accounts and the browser sessions that they open. Passwords are here as scrypt hashes, set-up secrets and
 * sessions as SHA-256 digests. Times are wall time in microseconds.
 */
#ifndef ROUNDS_SERVER_STORE_ACCOUNTS_H
#define ROUNDS_SERVER_STORE_ACCOUNTS_H

#include "server/store/store.h"

/* ERROR_CONFLICT if there is one of that name. */
must_check int user_insert(struct store_tx *tx, const char *name, const char *role, struct rounds_error *error);
/* `state`: "active" (has a password), "invited" (has a set-up link) or "invitation over". */
must_check int user_list(struct store_tx *tx, json_t **users, struct rounds_error *error);
/* For auth alone: {"name", "role", "password"} of each. */
must_check int user_list_secrets(struct store_tx *tx, json_t **users, struct rounds_error *error);
must_check int user_delete(struct store_tx *tx, const char *name, struct rounds_error *error);
must_check int user_set_role(struct store_tx *tx, const char *name, const char *role, struct rounds_error *error);
/* A one-time secret with which the person chooses a password; the old password goes. */
must_check int user_set_setup(
	struct store_tx *tx, const char *name, const char *hash, int64_t expires_us, struct rounds_error *error);
/*
 * In place of the hash `proven` (NULL: of none, and the set-up secret is used up). ERROR_UNAUTHENTICATED if it is another
 * by now: what was proven before a reset opens nothing after it.
 */
must_check int user_set_password(
	struct store_tx *tx, const char *name, const char *proven, const char *password, struct rounds_error *error);
/* ERROR_UNAUTHENTICATED if that secret is unknown, used or over. */
must_check int user_find_setup(struct store_tx *tx, const char *hash, char name[64], struct rounds_error *error);

struct new_session {
	const char *hash, *user;
	const char *proven; /* the user's password as it was proven; see user_set_password */
	int64_t expires_us;
};
must_check int session_insert(struct store_tx *tx, const struct new_session *session, struct rounds_error *error);
/* Each with its user and the role that this user has now. */
must_check int session_list(struct store_tx *tx, json_t **sessions, struct rounds_error *error);
must_check int session_expire(struct store_tx *tx, struct rounds_error *error);
/* One session, or all of a user (hash NULL). */
must_check int session_delete(struct store_tx *tx, const char *hash, const char *user, struct rounds_error *error);

#endif
