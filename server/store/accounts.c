#include "server/store/accounts.h"

#include "common/json.h"
#include "server/store/db.h"

#include <stdio.h>

static int changed_one(struct store_tx *tx, const char *name, struct rounds_error *error)
{
	return db_changes(tx) ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no user %.64s", name);
}

int user_insert(struct store_tx *tx, const char *name, const char *role, struct rounds_error *error)
{
	store_about(tx, "user", name, "");
	if (db_run(tx, error, "INSERT INTO user(name, role, created_us) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING",
		    "ssi", name, role, db_wall_us(tx)))
		return -1;
	return db_changes(tx) ? 0 : error_set(error, ERROR_CONFLICT, "there is a user %.64s already", name);
}

int user_list(struct store_tx *tx, json_t **users, struct rounds_error *error)
{
	return db_rows(tx, error, users,
		"SELECT name, role, CASE WHEN password IS NOT NULL THEN 'active' WHEN setup_expires_us > ?1 THEN"
		" 'invited' ELSE 'invitation over' END AS state, created_us AS \"created:time\","
		" signed_in_us AS \"signed_in:time\" FROM user ORDER BY name",
		"i", db_wall_us(tx));
}

int user_list_secrets(struct store_tx *tx, json_t **users, struct rounds_error *error)
{
	return db_rows(tx, error, users, "SELECT name, role, password FROM user", "");
}

int user_delete(struct store_tx *tx, const char *name, struct rounds_error *error)
{
	if (db_run(tx, error, "DELETE FROM user WHERE name = ?1", "s", name))
		return -1;
	return changed_one(tx, name, error);
}

int user_set_role(struct store_tx *tx, const char *name, const char *role, struct rounds_error *error)
{
	if (db_run(tx, error, "UPDATE user SET role = ?2 WHERE name = ?1", "ss", name, role))
		return -1;
	return changed_one(tx, name, error);
}

int user_set_setup(
	struct store_tx *tx, const char *name, const char *hash, int64_t expires_us, struct rounds_error *error)
{
	store_about(tx, "user", name, "");
	if (db_run(tx, error,
		    "UPDATE user SET password = NULL, setup_hash = ?2, setup_expires_us = ?3 WHERE name = ?1", "ssi",
		    name, hash, expires_us))
		return -1;
	return changed_one(tx, name, error);
}

static int check_proof(struct store_tx *tx, struct rounds_error *error)
{
	if (db_changes(tx))
		return 0;
	return error_set(error, ERROR_UNAUTHENTICATED, "the password was changed meanwhile; sign in again");
}

int user_set_password(
	struct store_tx *tx, const char *name, const char *proven, const char *password, struct rounds_error *error)
{
	store_about(tx, "user", name, "");
	if (db_run(tx, error,
		    "UPDATE user SET password = ?3, setup_hash = NULL, setup_expires_us = NULL"
		    " WHERE name = ?1 AND password IS NOT DISTINCT FROM ?2",
		    "sss", name, proven, password))
		return -1;
	return check_proof(tx, error);
}

int user_find_setup(struct store_tx *tx, const char *hash, char name[64], struct rounds_error *error)
{
	json_auto_t *row = NULL;

	if (db_first(tx, error, &row, "SELECT name FROM user WHERE setup_hash = ?1 AND setup_expires_us > ?2", "si",
		    hash, db_wall_us(tx)))
		return -1;
	if (!row)
		return error_set(error, ERROR_UNAUTHENTICATED,
			"this set-up link is unknown, used or expired; ask an administrator for a new one");
	snprintf(name, 64, "%s", json_text_or(row, "name", ""));
	return 0;
}

int session_insert(struct store_tx *tx, const struct new_session *session, struct rounds_error *error)
{
	int64_t now = db_wall_us(tx);

	store_about(tx, "user", session->user, "");
	if (db_run(tx, error,
		    "INSERT INTO session(hash, user, created_us, expires_us)"
		    " SELECT ?1, name, ?4, ?5 FROM user WHERE name = ?2 AND password = ?3",
		    "sssii", session->hash, session->user, session->proven, now, session->expires_us) ||
		check_proof(tx, error))
		return -1;
	return db_run(tx, error, "UPDATE user SET signed_in_us = ?2 WHERE name = ?1", "si", session->user, now);
}

int session_list(struct store_tx *tx, json_t **sessions, struct rounds_error *error)
{
	return db_rows(tx, error, sessions,
		"SELECT hash, user, role, expires_us FROM session JOIN user ON user.name = session.user", "");
}

int session_expire(struct store_tx *tx, struct rounds_error *error)
{
	return db_run(tx, error, "DELETE FROM session WHERE expires_us <= ?1", "i", db_wall_us(tx));
}

int session_delete(struct store_tx *tx, const char *hash, const char *user, struct rounds_error *error)
{
	return db_run(tx, error, "DELETE FROM session WHERE (?1 IS NULL OR hash = ?1) AND (?2 IS NULL OR user = ?2)",
		"ss", hash, user);
}
