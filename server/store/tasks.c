#include "server/store/tasks.h"

#include "common/uuid.h"
#include "server/store/db.h"
#include "server/store/dialect.h"

/* A partial index serves a query that repeats its condition word by word: hence the INs beside the equals. */
#define COLUMNS                                                                                                                                               \
	"task.id, task.job, task.round, task.kind, task.site, task.state, task.files AS \"files:json\","                                                      \
	" task.algorithm AS \"algorithm:json\", task.lease_us, task.lease_due,"                                                                               \
	" task.attempts, task.failures, task.stage, task.fraction, task.result_files AS \"result_files:json\", task.weight,"                                  \
	" task.metrics AS \"metrics:json\", task.timings AS \"timings:json\", task.result AS \"result:json\", task.reason, task.failure AS \"failure:json\"," \
	" task.created_us AS \"created:time\", task.leased_us AS \"leased:time\","                                                                            \
	" task.finished_us AS \"finished:time\""

int task_insert(struct store_tx *tx, const struct new_task *task, struct rounds_error *error)
{
	char id[UUID_TEXT_SIZE];

	uuid_new(tx->world, id);
	return db_run(tx, error,
		"INSERT INTO task(id, job, round, kind, site, state, files, algorithm, lease_us, created_us)"
		" VALUES(?1, ?2, ?3, ?4, ?5, 'pending', coalesce(?6, '{}'), ?7, ?8, ?9)",
		"ssissjjii", id, task->job, task->round, task->kind, task->site, task->files, task->algorithm,
		task->lease_us, db_wall_us(tx));
}

int task_find(struct store_tx *tx, const char *id, json_t **task, struct rounds_error *error)
{
	if (db_first(tx, error, task, "SELECT " COLUMNS ", heard FROM task WHERE id = ?1", "s", id))
		return -1;
	return *task ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no task %.64s", id);
}

int task_list(struct store_tx *tx, const char *job, int64_t round, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT " COLUMNS
		" FROM task WHERE job = ?1 AND round BETWEEN ?2 AND ?3 ORDER BY round, kind, site LIMIT 10000",
		"sii", job, round, round < 0 ? INT64_MAX : round);
}

int task_list_now(struct store_tx *tx, const char *job, int64_t limit, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT round, kind, site, state, stage, fraction, created_us AS \"created:time\", leased_us AS \"leased:time\","
		" finished_us AS \"finished:time\", reason FROM task"
		" WHERE job = ?1 AND (round >= (SELECT round FROM job WHERE id = ?1)"
		" OR id IN (SELECT id FROM task" BY_INDEX(
			task_open_by_job) "WHERE job = ?1"
					  " AND state IN ('pending', 'leased'))) ORDER BY round, kind, site LIMIT ?2",
		"si", job, limit);
}

int task_next(struct store_tx *tx, const char *site, json_t **task, struct rounds_error *error)
{
	return db_first(tx, error, task,
		"SELECT " COLUMNS " FROM task" BY_INDEX(task_open) JOIN_IN_ORDER
		"job ON job.id = task.job WHERE task.site = ?1"
		" AND task.state IN ('pending', 'leased') AND task.state = 'pending' AND task.not_before IS NULL"
		" AND job.state = 'running' ORDER BY job.priority DESC, task.id LIMIT 1",
		"s", site);
}

int task_list_leased(struct store_tx *tx, const char *site, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT " COLUMNS ", heard FROM task" BY_INDEX(task_open) JOIN_IN_ORDER
		"job ON job.id = task.job"
		" WHERE task.site = ?1 AND task.state IN ('pending', 'leased') AND task.state = 'leased'"
		" AND job.state = 'running' ORDER BY task.id",
		"s", site);
}

#define WAITED                                                                                                          \
	"SELECT task.id, task.job, task.round, task.kind, task.site, task.state, task.created_us AS \"created:time\","  \
	" task.leased_us AS \"leased:time\","                                                                           \
	" coalesce((SELECT called_off FROM site WHERE name = task.site), 0) AS \"called_off:bool\" FROM task" BY_INDEX( \
		task_open_by_job)

int task_list_waited(struct store_tx *tx, const char *job, json_t **tasks, struct rounds_error *error)
{
	if (job)
		return db_rows(tx, error, tasks,
			WAITED "WHERE job = ?1 AND state IN ('pending', 'leased') ORDER BY site", "s", job);
	return db_rows(tx, error, tasks,
		WAITED JOIN_IN_ORDER "job ON job.id = task.job WHERE task.state IN ('pending', 'leased')"
				     " AND job.state = 'running' ORDER BY task.job, task.site",
		"");
}

int task_list_differing(struct store_tx *tx, const char *job, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT site, round, failure AS \"failure:json\", min(created_us), finished_us AS \"finished:time\""
		" FROM task" BY_INDEX(
			task_told_failure) "WHERE job = ?1 AND failure IS NOT NULL"
					   " AND state = 'failed' AND " JSON_MEMBER("failure",
						   "kind") " = 'schema' AND NOT EXISTS(SELECT 1 FROM task AS"
							   " later WHERE later.job = task.job AND later.round >= task.round AND later.site = task.site"
							   " AND later.id > task.id AND later.state = 'done') GROUP BY site ORDER BY site",
		"s", job);
}

int task_maker(struct store_tx *tx, const char *job, json_t **maker, struct rounds_error *error)
{
	return db_first(tx, error, maker,
		"SELECT site FROM task WHERE job = ?1 AND round = 0 AND kind = 'initialize' AND state = 'done'", "s",
		job);
}

int task_list_of_site(struct store_tx *tx, const char *site, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT " COLUMNS
		" FROM task" BY_INDEX(task_open) "WHERE site = ?1 AND state IN ('pending', 'leased')"
						 " ORDER BY id",
		"s", site);
}

int task_list_called_off(struct store_tx *tx, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT " COLUMNS " FROM site" BY_INDEX(site_called_off) JOIN_IN_ORDER
		"task" BY_INDEX(task_open) "ON task.site = site.name"
					   " AND task.state IN ('pending', 'leased')" JOIN_IN_ORDER
					   "job ON job.id = task.job AND job.state = 'running'"
					   " WHERE site.called_off LIMIT 200",
		"");
}

int task_list_orphaned(struct store_tx *tx, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT " COLUMNS " FROM site" BY_INDEX(site_removed) JOIN_IN_ORDER "task" BY_INDEX(
			task_open) "ON task.site = site.name"
				   " AND task.state IN ('pending', 'leased') WHERE site.state = 'removed' LIMIT 200",
		"");
}

int task_list_expired(struct store_tx *tx, int64_t now, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT " COLUMNS " FROM task" BY_INDEX(task_leased) JOIN_IN_ORDER
		"job ON job.id = task.job"
		" WHERE task.state = 'leased' AND lease_due <= ?1 AND job.state <> 'paused' ORDER BY lease_due LIMIT 200",
		"i", now);
}

int task_list_open(struct store_tx *tx, const char *job, int64_t round, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT " COLUMNS
		" FROM task WHERE job = ?1 AND round BETWEEN ?2 AND ?3 AND state IN ('pending', 'leased')"
		" ORDER BY site",
		"sii", job, round, round < 0 ? INT64_MAX : round);
}

int task_list_inputs(struct store_tx *tx, const char *job, int64_t round, const char *kind, json_t **tasks,
	struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT " COLUMNS
		" FROM task WHERE job = ?1 AND round = ?2 AND kind = ?3 AND state = 'done' AND weight > 0 ORDER BY site",
		"sis", job, round, kind);
}

int task_find_input(struct store_tx *tx, const char *job, int64_t round, const char *kind, const char *site,
	json_t **task, struct rounds_error *error)
{
	return db_first(tx, error, task,
		"SELECT " COLUMNS " FROM task WHERE job = ?1 AND round = ?2 AND kind = ?3 AND site = ?4"
		" AND state = 'done' AND weight > 0",
		"siss", job, round, kind, site);
}

int task_list_results(struct store_tx *tx, const char *job, int64_t round, const char *kind, json_t **tasks,
	struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT site, weight, metrics AS \"metrics:json\", result_files AS \"result_files:json\", result AS \"result:json\""
		" FROM task WHERE job = ?1 AND round = ?2 AND kind = ?3 AND state = 'done' ORDER BY site",
		"sis", job, round, kind);
}

int task_list_rested(struct store_tx *tx, int64_t now, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT id, site FROM task" BY_INDEX(
			task_resting) "WHERE not_before IS NOT NULL AND not_before <= ?1",
		"i", now);
}

int task_end_rest(struct store_tx *tx, const char *id, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE task SET not_before = NULL WHERE id = ?1", "s", id);
}

int task_next_due(struct store_tx *tx, int64_t *due, struct rounds_error *error)
{
	int64_t rest;

	if (db_integer(tx, error, INT64_MAX, &rest,
		    "SELECT min(not_before) FROM task" BY_INDEX(task_resting) "WHERE not_before IS NOT NULL", "") ||
		db_integer(tx, error, INT64_MAX, due,
			"SELECT lease_due FROM task" BY_INDEX(task_leased) JOIN_IN_ORDER
			"job ON job.id = task.job"
			" WHERE task.state = 'leased' AND job.state <> 'paused' ORDER BY lease_due LIMIT 1",
			""))
		return -1;
	if (rest < *due)
		*due = rest;
	return 0;
}

int task_list_files(struct store_tx *tx, const char *site, json_t **tasks, struct rounds_error *error)
{
	return db_rows(tx, error, tasks,
		"SELECT files AS \"files:json\" FROM task" BY_INDEX(task_open) "WHERE site = ?1"
									       " AND state IN ('pending', 'leased')",
		"s", site);
}

int task_extend(struct store_tx *tx, const char *id, int64_t due, const struct task_progress *progress,
	struct rounds_error *error)
{
	return db_run(tx, error,
		"UPDATE task SET lease_due = ?2, heard = 1, stage = coalesce(?3, stage), fraction = coalesce(?4, fraction),"
		" metrics = coalesce(?5, metrics)"
		" WHERE id = ?1 AND state = 'leased'",
		"sisdj", id, due, progress->stage, progress->fraction, progress->metrics);
}

static int to_pending(struct store_tx *tx, const char *id, const char *from, const struct task_change *change,
	struct rounds_error *error)
{
	return db_run(tx, error,
		"UPDATE task SET state = 'pending', lease_due = NULL, failures = failures + ?3, reason = ?4, stage = NULL,"
		" fraction = NULL, not_before = nullif(?5, 0), failure = ?6 WHERE id = ?1 AND state = ?2",
		"ssisij", id, from, (int64_t)change->failed, change->reason, change->not_before, change->failure);
}

static int to_leased(struct store_tx *tx, const char *id, const char *from, const struct task_change *change,
	struct rounds_error *error)
{
	return db_run(tx, error,
		"UPDATE task SET state = 'leased', lease_due = ?3, attempts = attempts + 1, leased_us = ?4,"
		" stage = 'received', fraction = 0, heard = 0, not_before = NULL WHERE id = ?1 AND state = ?2",
		"ssii", id, from, change->lease_due, db_wall_us(tx));
}

static int to_done(struct store_tx *tx, const char *id, const char *from, const struct task_change *change,
	struct rounds_error *error)
{
	const struct task_result *result = change->result;

	return db_run(tx, error,
		"UPDATE task SET state = 'done', lease_due = NULL, result_files = ?3, weight = ?4, metrics = ?5, result = ?6,"
		" stage = NULL, fraction = 1, reason = NULL, failure = NULL, not_before = NULL, finished_us = ?7,"
		" timings = ?8 WHERE id = ?1 AND state = ?2",
		"ssjdjjij", id, from, result->files, result->weight, result->metrics, result->answer, db_wall_us(tx),
		result->timings);
}

static int close_as(struct store_tx *tx, const char *id, const char *from, const char *to,
	const struct task_change *change, struct rounds_error *error)
{
	return db_run(tx, error,
		"UPDATE task SET state = ?3, lease_due = NULL, failures = failures + ?4, reason = ?5, finished_us = ?6,"
		" not_before = NULL, failure = ?7 WHERE id = ?1 AND state = ?2",
		"sssisij", id, from, to, (int64_t)change->failed, change->reason, db_wall_us(tx), change->failure);
}

static int to_failed(struct store_tx *tx, const char *id, const char *from, const struct task_change *change,
	struct rounds_error *error)
{
	return close_as(tx, id, from, "failed", change, error);
}

static int to_cancelled(struct store_tx *tx, const char *id, const char *from, const struct task_change *change,
	struct rounds_error *error)
{
	return close_as(tx, id, from, "cancelled", change, error);
}

int task_move(struct store_tx *tx, const char *id, const char *from, enum task_state to,
	const struct task_change *change, struct rounds_error *error)
{
	static int (*const set[TASK_STATES])(struct store_tx * tx, const char *id, const char *from,
		const struct task_change *change, struct rounds_error *error) = {
		[TASK_PENDING] = to_pending,
		[TASK_LEASED] = to_leased,
		[TASK_DONE] = to_done,
		[TASK_FAILED] = to_failed,
		[TASK_CANCELLED] = to_cancelled,
	};

	return state_check(&task_machine, from, (int)to, error) || set[to](tx, id, from, change, error) ||
			       state_moved(tx, &task_machine, from, error)
		       ? -1
		       : 0;
}

int task_regrant(struct store_tx *tx, int64_t now, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE task SET lease_due = ?1 + lease_us WHERE state = 'leased'", "i", now) ||
			       db_run(tx, error, "UPDATE task SET not_before = NULL WHERE not_before IS NOT NULL", "")
		       ? -1
		       : 0;
}

int task_shift(struct store_tx *tx, const char *job, int64_t by, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE task SET lease_due = lease_due + ?2 WHERE job = ?1 AND state = 'leased'",
		"si", job, by);
}

int task_count_open(struct store_tx *tx, json_t **counts, struct rounds_error *error)
{
	return db_rows(tx, error, counts,
		"SELECT state, count(*) AS count FROM task" BY_INDEX(task_open) "WHERE state IN ('pending', 'leased')"
										" GROUP BY state",
		"");
}
