#include "server/store/webhooks.h"

#include "common/json.h"
#include "server/store/db.h"
#include "server/store/dialect.h"
#include "server/store/rounds.h"

#define WEBHOOK                                                                                                      \
	"id, url, kinds AS \"events:json\", state, reason, created_us AS \"created:time\", created_by, failures,"    \
	" failing_us AS \"failing_since:time\", tried_us AS \"tried:time\", tried_status, tried_fault,"              \
	" delivered_us AS \"delivered:time\", deliveries"

int webhook_insert(struct store_tx *tx, const struct new_webhook *webhook, struct rounds_error *error)
{
	store_about(tx, "webhook", webhook->id, "");
	return db_run(tx, error,
		"INSERT INTO webhook(id, url, secret, kinds, state, created_us, created_by, place)"
		" VALUES(?1, ?2, ?3, ?4, 'active', ?5, ?6, (SELECT coalesce(max(id), 0) FROM event))",
		"sssjis", webhook->id, webhook->url, webhook->secret, webhook->kinds, db_wall_us(tx), webhook->by);
}

int webhook_list(struct store_tx *tx, json_t **webhooks, struct rounds_error *error)
{
	return db_rows(tx, error, webhooks, "SELECT " WEBHOOK " FROM webhook ORDER BY id", "");
}

int webhook_find(struct store_tx *tx, const char *id, json_t **webhook, struct rounds_error *error)
{
	if (db_first(tx, error, webhook, "SELECT " WEBHOOK " FROM webhook WHERE id = ?1", "s", id))
		return -1;
	return *webhook ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no webhook %.64s", id);
}

static int changed_one(struct store_tx *tx, const char *id, struct rounds_error *error)
{
	return db_changes(tx) ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no webhook %.64s", id);
}

int webhook_delete(struct store_tx *tx, const char *id, struct rounds_error *error)
{
	if (db_run(tx, error, "DELETE FROM webhook WHERE id = ?1", "s", id))
		return -1;
	return changed_one(tx, id, error);
}

int webhook_change(struct store_tx *tx, const char *id, const char *url, const json_t *kinds, const char *state,
	struct rounds_error *error)
{
	if (db_run(tx, error,
		    "UPDATE webhook SET url = coalesce(?2, url), kinds = coalesce(?3, kinds), state = coalesce(?4, state)"
		    " WHERE id = ?1",
		    "ssjs", id, url, kinds, state) ||
		changed_one(tx, id, error))
		return -1;
	return db_run(tx, error,
		"UPDATE webhook SET reason = NULL, failures = 0, failing_us = NULL WHERE id = ?1 AND ?2 = 'active'",
		"ss", id, state);
}

int webhook_list_to_serve(struct store_tx *tx, json_t **webhooks, struct rounds_error *error)
{
	return db_rows(tx, error, webhooks,
		"SELECT id, url, secret, kinds AS \"kinds:json\", state, place, failures, failing_us FROM webhook",
		"");
}

int webhook_next_event(struct store_tx *tx, int64_t after, const json_t *kinds, json_t **event, int64_t *last,
	struct rounds_error *error)
{
	json_auto_t *events = NULL;
	int64_t id;

	*event = NULL;
	if (event_last(tx, last, error) ||
		db_integer(tx, error, 0, &id,
			"SELECT id FROM event" BY_PRIMARY_KEY
			"WHERE id > ?1 AND kind IN " JSON_TEXTS("?2") " ORDER BY id LIMIT 1",
			"ij", after, kinds))
		return -1;
	if (id && event_list_all(tx, &scope_all, NULL, id - 1, 1, &events, error))
		return -1;
	json_object_del(json_array_get(events, 0), "project");
	*event = json_incref(json_array_get(events, 0));
	return 0;
}

int webhook_tried(struct store_tx *tx, const struct webhook_try *tried, struct rounds_error *error)
{
	int64_t now = db_wall_us(tx);

	if (db_run(tx, error,
		    "UPDATE webhook SET tried_us = ?2, tried_status = nullif(?3, 0), tried_fault = ?4 WHERE id = ?1",
		    "siis", tried->id, now, tried->status, tried->fault))
		return -1;
	if (!tried->counts)
		return 0;
	if (!tried->fault)
		return db_run(tx, error,
			"UPDATE webhook SET place = CASE WHEN place < ?2 THEN ?2 ELSE place END, delivered_us = ?3, deliveries = deliveries + 1,"
			" failures = 0, failing_us = NULL WHERE id = ?1",
			"sii", tried->id, tried->place, now);
	return db_run(tx, error,
		"UPDATE webhook SET failures = failures + 1, failing_us = coalesce(failing_us, ?2),"
		" state = CASE WHEN ?3 IS NULL THEN state ELSE 'failed' END, reason = ?3 WHERE id = ?1",
		"sis", tried->id, now, tried->give_up);
}
