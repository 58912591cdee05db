/*
 * People's accounts and the browser sessions that they open. Passwords are here as scrypt hashes, set-up secrets and
 * sessions as SHA-256 digests. Times are wall time in microseconds.
 */
#ifndef ROUNDS_SERVER_STORE_ACCOUNTS_H
#define ROUNDS_SERVER_STORE_ACCOUNTS_H

#include "server/store/store.h"

/* ERROR_CONFLICT if there is one of that name. */
must_check int user_insert(struct store_tx *tx, const char *name, const char *role, struct rounds_error *error);
/* With password, setup_hash and setup_expires_us, which never leave the server. */
must_check int user_list(struct store_tx *tx, json_t **users, struct rounds_error *error);
must_check int user_delete(struct store_tx *tx, const char *name, struct rounds_error *error);
must_check int user_set_role(struct store_tx *tx, const char *name, const char *role, struct rounds_error *error);
/* A one-time secret with which the person chooses a password; the old password goes. */
must_check int user_set_setup(
	struct store_tx *tx, const char *name, const char *hash, int64_t expires_us, struct rounds_error *error);
/* The set-up secret, if any, is used up. */
must_check int user_set_password(
	struct store_tx *tx, const char *name, const char *password, struct rounds_error *error);
/* ERROR_UNAUTHENTICATED if that secret is unknown, used or over at `now`. */
must_check int user_find_setup(
	struct store_tx *tx, const char *hash, int64_t now, char name[64], struct rounds_error *error);

must_check int session_insert(
	struct store_tx *tx, const char *hash, const char *user, int64_t expires_us, struct rounds_error *error);
/* Each with its user and the role that this user has now. */
must_check int session_list(struct store_tx *tx, json_t **sessions, struct rounds_error *error);
must_check int session_expire(struct store_tx *tx, int64_t now, struct rounds_error *error);
/* One session, or all of a user (hash NULL). */
must_check int session_delete(struct store_tx *tx, const char *hash, const char *user, struct rounds_error *error);

#endif
