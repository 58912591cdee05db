#include "server/store/identities.h"

#include "common/json.h"
#include "server/store/db.h"
#include "server/store/dialect.h"

#include <stdio.h>
#include <string.h>

#define SITE                                                                                                         \
	"name, state, called_off AS \"now:bool\", serial, created_us AS \"created:time\","                           \
	" expires_us AS \"certificate_expires:time\","                                                               \
	" seen_us AS \"seen:time\", version, protocol, slots, datasets AS \"datasets:json\","                        \
	" executors AS \"executors:json\", tables AS \"tables:json\","                                               \
	" rtt_us / 1e6 AS rtt_seconds, received_bytes, sent_bytes,"                                                  \
	" (SELECT statement FROM site_keys WHERE site = name ORDER BY generation DESC LIMIT 1) AS statement"

int site_admit(struct store_tx *tx, const struct new_site *site, struct rounds_error *error)
{
	store_about(tx, "site", site->name, "");
	return db_run(tx, error,
		"INSERT INTO site(name, state, serial, created_us, expires_us) VALUES(?1, 'active', ?2, ?3, ?4)"
		" ON CONFLICT (name) DO UPDATE SET called_off = called_off AND state <> 'removed',"
		" state = CASE state WHEN 'removed' THEN 'active' ELSE state END, serial = excluded.serial, expires_us = "
		"excluded.expires_us, old_serial = NULL",
		"ssii", site->name, site->serial, db_wall_us(tx), site->expires_us);
}

int site_renew(struct store_tx *tx, const struct new_site *site, const char *with, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE site SET serial = ?2, old_serial = ?3, expires_us = ?4 WHERE name = ?1",
		"sssi", site->name, site->serial, with, site->expires_us);
}

int site_list_serials(struct store_tx *tx, json_t **sites, struct rounds_error *error)
{
	return db_rows(tx, error, sites, "SELECT name, state, serial, old_serial FROM site", "");
}

int site_find(struct store_tx *tx, const char *name, json_t **site, struct rounds_error *error)
{
	if (db_first(tx, error, site, "SELECT " SITE " FROM site WHERE name = ?1", "s", name))
		return -1;
	return *site ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no site %.64s", name);
}

int site_count_health(struct store_tx *tx, int64_t *removed, int64_t *first_end, struct rounds_error *error)
{
	return db_integer(tx, error, 0, removed,
		       "SELECT count(*) FROM site" BY_INDEX(site_removed) "WHERE state = 'removed'", "") ||
			       db_integer(tx, error, INT64_MAX, first_end,
				       "SELECT min(expires_us) FROM site WHERE state <> 'removed'", "")
		       ? -1
		       : 0;
}

int site_list(struct store_tx *tx, json_t **sites, struct rounds_error *error)
{
	return db_rows(tx, error, sites, "SELECT " SITE " FROM site ORDER BY name", "");
}

int site_set_state(
	struct store_tx *tx, const char *name, const char *state, bool called_off, struct rounds_error *error)
{
	store_about(tx, "site", name, called_off ? "called off" : "");
	return db_run(tx, error, "UPDATE site SET state = ?2, called_off = ?3 WHERE name = ?1", "ssi", name, state,
		(int64_t)called_off);
}

int site_describe(struct store_tx *tx, const char *name, const json_t *facts, struct rounds_error *error)
{
	return db_run(tx, error,
		"UPDATE site SET version = ?2, slots = ?3, datasets = ?4, executors = ?5, seen_us = ?6, protocol = ?7,"
		" tables = ?8 WHERE name = ?1",
		"ssijjiij", name, json_text_or(facts, "version", ""), json_integer_or(facts, "slots", 1),
		json_object_get(facts, "datasets"), json_object_get(facts, "executors"), db_wall_us(tx),
		json_integer_or(facts, "protocol", 0), json_object_get(facts, "tables"));
}

int site_standing(struct store_tx *tx, const char *name, struct site_standing *standing, struct rounds_error *error)
{
	json_auto_t *row = NULL;

	if (db_first(tx, error, &row, "SELECT protocol, state, called_off FROM site WHERE name = ?1", "s", name))
		return -1;
	*standing = (struct site_standing){
		.protocol = json_integer_or(row, "protocol", 0),
		.drains = !strcmp(json_text_or(row, "state", ""), "draining"),
		.is_called_off = json_integer_or(row, "called_off", 0) != 0,
	};
	return 0;
}

int site_moved(struct store_tx *tx, const char *name, int64_t received, int64_t sent, int64_t rtt_us,
	struct rounds_error *error)
{
	return db_run(tx, error,
		"UPDATE site SET received_bytes = received_bytes + ?2, sent_bytes = sent_bytes + ?3,"
		" rtt_us = coalesce(nullif(?4, 0), rtt_us), seen_us = ?5 WHERE name = ?1",
		"siiii", name, received, sent, rtt_us, db_wall_us(tx));
}

int site_free_slots(struct store_tx *tx, const char *name, int64_t *slots, struct rounds_error *error)
{
	return db_integer(tx, error, 0, slots,
		"SELECT slots - (SELECT count(*) FROM job_site WHERE site = ?1) FROM site WHERE name = ?1 AND state "
		"= 'active'",
		"s", name);
}

int token_insert(struct store_tx *tx, const struct new_token *token, struct rounds_error *error)
{
	static const struct credential nobody = { "", "", NULL, NULL };
	const struct credential *maker = token->maker ? token->maker : &nobody;

	store_about(tx, "token", token->id, token->name);
	return db_run(tx, error,
		"INSERT INTO token(id, name, role, hash, created_us, expires_us, made_by, account)"
		" VALUES(?1, ?2, ?3, ?4, ?5, nullif(?6, 0), ?7, CASE ?8 WHEN 'session' THEN ?7"
		" WHEN 'token' THEN (SELECT account FROM token WHERE id = ?9) END)",
		"ssssiisss", token->id, token->name, token->role, token->hash, db_wall_us(tx), token->expires_us,
		maker->name, maker->kind, maker->key);
}

int token_list(struct store_tx *tx, json_t **tokens, struct rounds_error *error)
{
	return db_rows(tx, error, tokens,
		"SELECT id, name, role, made_by, created_us AS \"created:time\", expires_us AS \"expires:time\""
		" FROM token ORDER BY id",
		"");
}

int token_list_made_by(struct store_tx *tx, const char *account, json_t **tokens, struct rounds_error *error)
{
	return db_rows(tx, error, tokens, "SELECT id, role FROM token WHERE account = ?1", "s", account);
}

int token_list_secrets(struct store_tx *tx, json_t **tokens, struct rounds_error *error)
{
	return db_rows(tx, error, tokens, "SELECT id, name, role, hash, expires_us FROM token", "");
}

int token_delete(struct store_tx *tx, const char *id, struct rounds_error *error)
{
	if (db_run(tx, error, "DELETE FROM token WHERE id = ?1", "s", id))
		return -1;
	return db_changes(tx) ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no token %.64s", id);
}

static const struct {
	const char *kind, *sql;
} credentials[] = {
	{ "token", "SELECT 1 FROM token WHERE id = ?1 AND name = ?2 AND role = ?3" },
	{ "session", "SELECT 1 FROM session JOIN user ON user.name = session.user"
		     " WHERE hash = ?1 AND user = ?2 AND role = ?3" },
	{ "certificate", "SELECT 1 FROM site WHERE (serial = ?1 OR old_serial = ?1) AND name = ?2"
			 " AND state <> 'removed' AND ?3 = 'site'" },
};

int credential_check(struct store_tx *tx, const struct credential *credential, struct rounds_error *error)
{
	int64_t holds = 0;

	for (size_t i = 0; i < ARRAY_SIZE(credentials); i++)
		if (!strcmp(credentials[i].kind, credential->kind) &&
			db_integer(tx, error, 0, &holds, credentials[i].sql, "sss", credential->key, credential->name,
				credential->role))
			return -1;
	if (holds)
		return 0;
	return error_set(error, ERROR_UNAUTHENTICATED, "this %s was taken back while the request was under way",
		credential->kind);
}
