#include "server/store/invitations.h"

#include "common/json.h"
#include "server/store/db.h"

#include <stdio.h>

#define OPEN " used_us IS NULL AND voided_us IS NULL AND expires_us > "

static int is_there(struct store_tx *tx, const char *site, bool *there, struct rounds_error *error)
{
	int64_t count = 0;

	if (db_integer(tx, error, 0, &count, "SELECT count(*) FROM site WHERE name = ?1 AND state <> 'removed'", "s",
		    site))
		return -1;
	*there = count > 0;
	return 0;
}

int invitation_insert(struct store_tx *tx, const struct new_invitation *invitation, struct rounds_error *error)
{
	bool there;

	store_about(tx, "site", invitation->site, "");
	if (is_there(tx, invitation->site, &there, error))
		return -1;
	if (there && !invitation->replaces)
		return error_set(error, ERROR_CONFLICT,
			"there is a site %.63s already; if another machine is to take its place, say so (`rounds site "
			"invite %.63s --replace`): its present certificate is refused once that one has joined",
			invitation->site, invitation->site);
	if (invitation_void_all(tx, invitation->site, error))
		return -1;
	return db_run(tx, error,
		"INSERT INTO invitation(id, hash, site, made_by, replaces, created_us, expires_us)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		"ssssiii", invitation->id, invitation->hash, invitation->site, invitation->by,
		(int64_t)invitation->replaces, db_wall_us(tx), invitation->expires_us);
}

int invitation_list(struct store_tx *tx, json_t **invitations, struct rounds_error *error)
{
	return db_rows(tx, error, invitations,
		"SELECT id, site, made_by AS \"by\", replaces AS \"replaces:bool\", CASE WHEN used_us IS NOT NULL THEN"
		" 'used' WHEN voided_us IS NOT NULL THEN 'void' WHEN expires_us <= ?1 THEN 'over' ELSE 'open' END AS"
		" state, created_us AS \"created:time\", expires_us AS \"expires:time\", used_us AS \"used:time\""
		" FROM invitation ORDER BY created_us DESC, id DESC LIMIT 1000",
		"i", db_wall_us(tx));
}

int invitation_find(struct store_tx *tx, const char *hash, struct invited *invited, struct rounds_error *error)
{
	json_auto_t *row = NULL;

	if (db_first(tx, error, &row,
		    "SELECT site, replaces AS \"replaces:bool\" FROM invitation WHERE hash = ?1 AND" OPEN "?2", "si",
		    hash, db_wall_us(tx)))
		return -1;
	if (!row)
		return error_set(error, ERROR_UNAUTHENTICATED,
			"the invitation is unknown, used, taken back or expired; ask the operator for a new one");
	snprintf(invited->site, sizeof(invited->site), "%s", json_text_or(row, "site", ""));
	if (is_there(tx, invited->site, &invited->replaces, error))
		return -1;
	if (invited->replaces && !json_bool_or(row, "replaces", false))
		return error_set(error, ERROR_CONFLICT,
			"there is a site %s already; ask the operator for an invitation that replaces it",
			invited->site);
	return 0;
}

int invitation_use(struct store_tx *tx, const char *hash, struct invited *invited, struct rounds_error *error)
{
	if (invitation_find(tx, hash, invited, error))
		return -1;
	return db_run(tx, error, "UPDATE invitation SET used_us = ?2 WHERE hash = ?1", "si", hash, db_wall_us(tx));
}

int invitation_void(struct store_tx *tx, const char *id, struct rounds_error *error)
{
	if (db_run(tx, error, "UPDATE invitation SET voided_us = ?2 WHERE id = ?1 AND" OPEN "?2", "si", id,
		    db_wall_us(tx)))
		return -1;
	return db_changes(tx) ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no open invitation %.64s", id);
}

int invitation_void_all(struct store_tx *tx, const char *site, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE invitation SET voided_us = ?2 WHERE site = ?1 AND" OPEN "?2", "si", site,
		db_wall_us(tx));
}
