#include "server/store/rounds.h"

#include "common/json.h"
#include "server/store/db.h"
#include "server/store/dialect.h"

#define COLUMNS                                                                                                             \
	"round.job, number, round.state, " JSON_MEMBER("how",                                                               \
		"method") " AS method, how AS \"how:json\", kind, model_in, round.model, manifest AS \"manifest:json\","    \
			  " manifest_digest, round.started_us AS \"started:time\", aggregating_us AS \"aggregating:time\"," \
			  " round.finished_us AS \"finished:time\""

int round_begin(
	struct store_tx *tx, const char *job, int64_t number, const char *model_in, struct rounds_error *error)
{
	return db_run(tx, error,
		"INSERT INTO round(job, number, state, model_in, started_us) VALUES(?1, ?2, 'collecting', ?3, ?4)"
		" ON CONFLICT DO NOTHING",
		"sisi", job, number, model_in, db_wall_us(tx));
}

static int to_aggregating(struct store_tx *tx, const char *job, int64_t number, const char *from,
	const struct round_change *change, struct rounds_error *error)
{
	return db_run(tx, error,
		"UPDATE round SET state = 'aggregating', how = ?4, kind = ?5, aggregating_us = ?6"
		" WHERE job = ?1 AND number = ?2 AND state = ?3",
		"sisjsi", job, number, from, change->how, change->kind, db_wall_us(tx));
}

static int to_done(struct store_tx *tx, const char *job, int64_t number, const char *from,
	const struct round_change *change, struct rounds_error *error)
{
	return db_run(tx, error,
		"UPDATE round SET state = 'done', model = ?4, manifest = ?5, manifest_digest = ?6, finished_us = ?7"
		" WHERE job = ?1 AND number = ?2 AND state = ?3",
		"sissjsi", job, number, from, change->model, change->manifest, change->manifest_digest,
		db_wall_us(tx));
}

int round_move(struct store_tx *tx, const char *job, int64_t number, const char *from, enum round_state to,
	const struct round_change *change, struct rounds_error *error)
{
	if (state_check(&round_machine, from, (int)to, error) ||
		(to == ROUND_DONE ? to_done : to_aggregating)(tx, job, number, from, change, error))
		return -1;
	return state_moved(tx, &round_machine, from, error);
}

int round_find(struct store_tx *tx, const char *job, int64_t number, json_t **round, struct rounds_error *error)
{
	if (db_first(tx, error, round, "SELECT " COLUMNS " FROM round WHERE job = ?1 AND number = ?2", "si", job,
		    number))
		return -1;
	return *round ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no round %lld", (long long)number);
}

int round_list(struct store_tx *tx, const char *job, int64_t after, int64_t limit, json_t **rounds,
	struct rounds_error *error)
{
	return db_rows(tx, error, rounds,
		"SELECT " COLUMNS " FROM round WHERE job = ?1 AND number > ?2 ORDER BY number LIMIT ?3", "sii", job,
		after, limit);
}

int round_before(struct store_tx *tx, const char *job, int64_t number, json_t **round, struct rounds_error *error)
{
	return db_first(tx, error, round,
		"SELECT " COLUMNS " FROM round WHERE job = ?1 AND number < ?2 AND manifest IS NOT NULL"
		" ORDER BY number DESC LIMIT 1",
		"si", job, number);
}

int round_next_to_aggregate(struct store_tx *tx, json_t **round, struct rounds_error *error)
{
	return db_first(tx, error, round,
		"SELECT " COLUMNS " FROM round" BY_INDEX(round_aggregating) JOIN_IN_ORDER
		"job ON job.id = round.job"
		" WHERE round.state = 'aggregating'"
		" AND job.state = 'running' ORDER BY aggregating_us LIMIT 1",
		"");
}

int timer_set(struct store_tx *tx, const char *job, const char *name, int64_t after_us, int64_t now,
	struct rounds_error *error)
{
	return db_run(tx, error,
		"INSERT INTO timer(job, name, after_us, due) VALUES(?1, ?2, ?3, ?4)"
		" ON CONFLICT (job, name) DO UPDATE SET after_us = excluded.after_us, due = excluded.due",
		"ssii", job, name, after_us, now + after_us);
}

int timer_clear(struct store_tx *tx, const char *job, const char *name, struct rounds_error *error)
{
	return db_run(tx, error, "DELETE FROM timer WHERE job = ?1 AND (?2 IS NULL OR name = ?2)", "ss", job, name);
}

int timer_list_due(struct store_tx *tx, int64_t now, json_t **timers, struct rounds_error *error)
{
	return db_rows(tx, error, timers,
		"SELECT timer.job, timer.name FROM timer JOIN job ON job.id = timer.job WHERE due <= ?1 AND "
		"job.state = 'running'"
		" ORDER BY due LIMIT 200",
		"i", now);
}

int timer_next(struct store_tx *tx, int64_t *due, struct rounds_error *error)
{
	return db_integer(tx, error, INT64_MAX, due,
		"SELECT min(due) FROM timer JOIN job ON job.id = timer.job WHERE job.state = 'running'", "");
}

int timer_regrant(struct store_tx *tx, int64_t now, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE timer SET due = ?1 + after_us", "i", now);
}

int timer_shift(struct store_tx *tx, const char *job, int64_t by, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE timer SET due = due + ?2 WHERE job = ?1", "si", job, by);
}

int event_add(struct store_tx *tx, const char *job, const struct new_event *event, struct rounds_error *error)
{
	return db_run(tx, error,
		"INSERT INTO event(job, time_us, kind, round, site, message, data) VALUES(?1, ?2, ?3, nullif(?4, "
		"-1), ?5, ?6, ?7)",
		"sisissj", job, db_wall_us(tx), event->kind, event->round, event->site, event->message, event->data);
}

int event_metric_missing(
	struct store_tx *tx, const char *job, const struct new_event *event, struct rounds_error *error)
{
	int64_t count;

	if (db_integer(tx, error, 0, &count,
		    "SELECT count(*) FROM event WHERE job = ?1 AND message = ?2 AND kind = 'metric_missing'", "ss",
		    job, event->message))
		return -1;
	return count ? 0 : event_add(tx, job, event, error);
}

int event_count_log(struct store_tx *tx, const char *job, int64_t round, const char *site, int64_t *count,
	struct rounds_error *error)
{
	return db_integer(tx, error, 0, count,
		"SELECT count(*) FROM event" BY_INDEX(
			event_log) "WHERE job = ?1 AND round = ?2 AND site = ?3 AND kind = 'log'",
		"sis", job, round, site);
}

int event_list(struct store_tx *tx, const char *job, int64_t after, int64_t limit, json_t **events,
	struct rounds_error *error)
{
	return db_rows(tx, error, events,
		"SELECT id, time_us AS \"time:time\", kind, round, site, message, data AS \"data:json\" FROM event"
		" WHERE job = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
		"sii", job, after, limit);
}

#define EVENT                                                                                                        \
	"event.id, event.job, job.name AS job_name, time_us AS \"time:time\", kind, event.round, site, message,"     \
	" data AS \"data:json\""

int event_list_all(struct store_tx *tx, const struct scope *scope, const char *job, int64_t after, int64_t limit,
	json_t **events, struct rounds_error *error)
{
	if (job)
		return db_rows(tx, error, events,
			"SELECT " EVENT
			", job.project FROM event JOIN job ON job.id = event.job WHERE job = ?1 AND event.id > ?2"
			" ORDER BY event.id LIMIT ?3",
			"sii", job, after, limit);
	return db_rows(tx, error, events,
		"SELECT " EVENT ", job.project FROM event" BY_PRIMARY_KEY
		"JOIN job ON job.id = event.job WHERE event.id > ?1"
		" AND " JOB_IN_SCOPE("?3") " ORDER BY event.id LIMIT ?2",
		"iij", after, limit, scope->projects);
}

int event_last(struct store_tx *tx, int64_t *id, struct rounds_error *error)
{
	return db_integer(tx, error, 0, id, "SELECT max(id) FROM event", "");
}

int event_list_newest(struct store_tx *tx, const struct scope *scope, int64_t before, int64_t limit, json_t **events,
	struct rounds_error *error)
{
	return db_rows(tx, error, events,
		"SELECT " EVENT " FROM event" BY_INDEX(
			event_notable) "JOIN job ON job.id = event.job WHERE event.id < ?1"
				       " AND kind NOT IN ('task_leased', 'result', 'round_started', 'aggregating', 'aggregated', 'log')"
				       " AND " JOB_IN_SCOPE("?3") " ORDER BY event.id DESC LIMIT ?2",
		"iij", before, limit, scope->projects);
}

int metric_set(struct store_tx *tx, const char *job, int64_t round, const char *site, const char *name, double value,
	struct rounds_error *error)
{
	return db_run(tx, error,
		"INSERT INTO metric(job, round, site, name, value) VALUES(?1, ?2, ?3, ?4, ?5)"
		" ON CONFLICT (job, round, site, name) DO UPDATE SET value = excluded.value",
		"sissd", job, round, site, name, value);
}

int metric_list(struct store_tx *tx, const char *job, const char *name, const char *site, json_t **metrics,
	struct rounds_error *error)
{
	return db_rows(tx, error, metrics,
		"SELECT round, site, name, value FROM metric WHERE job = ?1 AND (?2 IS NULL OR name = ?2)"
		" AND (?3 IS NULL OR site = ?3) ORDER BY round, site, name LIMIT 100000",
		"sss", job, name, site);
}

int history_trim(struct store_tx *tx, const char *job, int64_t first, struct rounds_error *error)
{
	if (first <= 0)
		return 0;
	if (db_run(tx, error, "DELETE FROM task WHERE job = ?1 AND round < ?2 AND state NOT IN ('pending', 'leased')",
		    "si", job, first) ||
		db_run(tx, error,
			"DELETE FROM round WHERE job = ?1 AND number < ?2 AND number > 0"
			" AND number IS DISTINCT FROM (SELECT best_round FROM job WHERE id = ?1)",
			"si", job, first) ||
		db_run(tx, error,
			"DELETE FROM metric WHERE job = ?1 AND round < ?2 AND round > 0"
			" AND round IS DISTINCT FROM (SELECT best_round FROM job WHERE id = ?1)",
			"si", job, first))
		return -1;
	return db_run(tx, error, "DELETE FROM event WHERE job = ?1 AND round < ?2", "si", job, first);
}

int verification_insert(struct store_tx *tx, const char *id, const char *job, struct rounds_error *error)
{
	return db_run(tx, error, "INSERT INTO verification(id, job, state, created_us) VALUES(?1, ?2, 'running', ?3)",
		"ssi", id, job, db_wall_us(tx));
}

int verification_finish(struct store_tx *tx, const char *id, const json_t *report, struct rounds_error *error)
{
	return db_run(tx, error,
		       "UPDATE verification SET state = 'done', report = ?2, finished_us = ?3 WHERE id = ?1", "sji",
		       id, report, db_wall_us(tx)) ||
			       db_run(tx, error,
				       "UPDATE job SET verified = ?2, version = version + 1 WHERE state = 'completed'"
				       " AND id = (SELECT job FROM verification WHERE id = ?1)",
				       "si", id, (int64_t)json_bool_or(report, "good", false))
		       ? -1
		       : 0;
}

int verification_find(
	struct store_tx *tx, const char *job, const char *id, json_t **verification, struct rounds_error *error)
{
	if (db_first(tx, error, verification,
		    "SELECT id, job, state, report AS \"report:json\", created_us AS \"created:time\","
		    " finished_us AS \"finished:time\" FROM verification WHERE id = ?1 AND job = ?2",
		    "ss", id, job))
		return -1;
	return *verification ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no such verification");
}

int verification_list_running(struct store_tx *tx, json_t **verifications, struct rounds_error *error)
{
	return db_rows(tx, error, verifications,
		"SELECT id, job FROM verification WHERE state = 'running' ORDER BY created_us, id LIMIT 100", "");
}

int setting_swap(struct store_tx *tx, const char *name, const char *value, bool *changed, struct rounds_error *error)
{
	int64_t differs;

	if (db_integer(tx, error, 0, &differs, "SELECT value <> ?2 FROM setting WHERE name = ?1", "ss", name, value))
		return -1;
	*changed = differs;
	return db_run(tx, error,
		"INSERT INTO setting(name, value) VALUES(?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
		"ss", name, value);
}
