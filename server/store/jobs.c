#include "server/store/jobs.h"

#include "common/json.h"
#include "server/store/db.h"
#include "server/store/dialect.h"
#include "server/store/progress.h"
#include "server/store/specs.h"

#include <string.h>

#define SUMMARY                                                                                                      \
	"id, project, name, workflow, state, priority, reason, held AS \"held:bool\", model, best, best_round, "     \
	"round,"                                                                                                     \
	" rounds, version, submitted_by, created_us AS \"created:time\", started_us AS \"started:time\","            \
	" finished_us AS \"finished:time\", verified AS \"verified:bool\""
#define WITHOUT_SPEC SUMMARY ", min_sites AS min_sites_effective, warnings AS \"warnings:json\", trace, paused_at"
#define WHOLE        WITHOUT_SPEC ", spec AS \"spec:json\""

int job_insert(struct store_tx *tx, const struct new_job *job, struct rounds_error *error)
{
	store_about(tx, "job", job->id, json_text_or(job->spec, "name", ""));
	return db_run(tx, error,
		"INSERT INTO job(id, project, name, workflow, state, priority, spec, rounds, submitted_by, "
		"idempotency_key,"
		" created_us, trace, min_sites, warnings, takes_late)"
		" VALUES(?1, ?2, ?3, ?4, 'submitted', ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
		"ssssijissisiji", job->id, json_text_or(job->spec, "project", "default"),
		json_text_or(job->spec, "name", ""), json_text_or(job->spec, "workflow", ""),
		json_integer_or(job->spec, "priority", 0), job->spec, job->rounds, job->submitted_by,
		job->idempotency_key, db_wall_us(tx), job->trace, job->min_sites, job->warnings,
		(int64_t)!strcmp(json_text_or(job->spec, "late_sites", ""), "join"));
}

int job_find(struct store_tx *tx, const char *id, json_t **job, struct rounds_error *error)
{
	if (db_first(tx, error, job, "SELECT " WHOLE " FROM job WHERE id = ?1", "s", id))
		return -1;
	return *job ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no job %.64s", id);
}

static int find_spec_at_work(struct store_tx *tx, const char *id, json_t **spec, struct rounds_error *error)
{
	json_auto_t *row = NULL;

	*spec = specs_find(tx->specs, id);
	if (*spec)
		return 0;
	if (db_first(tx, error, &row, "SELECT spec AS \"spec:json\" FROM job WHERE id = ?1", "s", id))
		return -1;
	*spec = json_incref(json_object_get(row, "spec"));
	if (!*spec)
		return error_no_memory(error);
	json_object_del(*spec, "sites");
	json_object_del(*spec, "required_sites");
	specs_keep(tx->specs, id, *spec);
	return 0;
}

int job_find_at_work(struct store_tx *tx, const char *id, json_t **job, struct rounds_error *error)
{
	json_auto_t *row = NULL, *spec = NULL;

	if (db_first(tx, error, &row, "SELECT " WITHOUT_SPEC " FROM job WHERE id = ?1", "s", id))
		return -1;
	if (!row)
		return error_set(error, ERROR_NOT_FOUND, "there is no job %.64s", id);
	if (find_spec_at_work(tx, id, &spec, error))
		return -1;
	if (json_object_set(row, "spec", spec))
		return error_no_memory(error);
	*job = json_incref(row);
	return 0;
}

int job_progress(struct store_tx *tx, const char *id, json_t **progress, struct rounds_error *error)
{
	const json_t *newest = progress_find(tx, id);
	json_auto_t *row = NULL;

	if (!newest && db_first(tx, error, &row,
			       "SELECT progress AS \"progress:json\" FROM job_progress WHERE job = ?1", "s", id))
		return -1;
	if (newest)
		*progress = json_deep_copy(newest);
	else
		*progress = row ? json_incref(json_object_get(row, "progress")) : json_object();
	return *progress ? 0 : error_no_memory(error);
}

int job_lacks(struct store_tx *tx, const char *id, json_t **lacks, struct rounds_error *error)
{
	return db_rows(tx, error, lacks,
		"SELECT site, lacks AS \"lacks:json\" FROM job_lacks WHERE job = ?1 ORDER BY site", "s", id);
}

int job_set_lacks(struct store_tx *tx, const char *id, const char *site, const json_t *lacks, bool *changed,
	struct rounds_error *error)
{
	if (db_run(tx, error,
		    "INSERT INTO job_lacks(job, site, lacks) VALUES(?1, ?2, ?3)"
		    " ON CONFLICT (job, site) DO UPDATE SET lacks = excluded.lacks"
		    " WHERE job_lacks.lacks <> excluded.lacks",
		    "ssj", id, site, lacks))
		return -1;
	*changed = db_changes(tx) > 0;
	return 0;
}

int job_exists(struct store_tx *tx, const char *id, struct rounds_error *error)
{
	int64_t count;

	if (db_integer(tx, error, 0, &count, "SELECT count(*) FROM job WHERE id = ?1", "s", id))
		return -1;
	return count ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no job %.64s", id);
}

int job_summary(struct store_tx *tx, const char *id, json_t **job, struct rounds_error *error)
{
	return db_first(tx, error, job, "SELECT " SUMMARY " FROM job WHERE id = ?1", "s", id);
}

int job_find_by_key(
	struct store_tx *tx, const char *submitted_by, const char *key, json_t **job, struct rounds_error *error)
{
	return db_first(tx, error, job, "SELECT " WHOLE " FROM job WHERE submitted_by = ?1 AND idempotency_key = ?2",
		"ss", submitted_by, key);
}

/*
 * A page is found in an index that holds all that a list is chosen and sorted by, so that no row is read but those on the page:
 * rows are long. What is beyond the last page's end is a range of the index where it is sorted by id.
 */
#define IN_SCOPE JOB_IN_SCOPE("?7")
#define LIST(index, key, order, beyond)                                                                              \
	"SELECT " SUMMARY " FROM (SELECT id AS listed FROM job" BY_INDEX(                                            \
		index) "WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR project = ?2) AND " IN_SCOPE             \
		       " AND (?3 IS NULL OR EXISTS(SELECT 1 FROM task WHERE task.job = job.id AND task.site = ?3))"  \
		       " AND (?4 IS NULL OR " HOLDS_TEXT("lower(name)", "lower(?4)") " OR " HOLDS_TEXT(              \
			       "id", "?4") ") AND " beyond " ORDER BY " key " " order ", id " order                  \
					   " LIMIT ?6)" JOIN_IN_ORDER "job ON job.id = listed ORDER BY " key         \
					   " " order ", id " order
#define BEYOND(key, than) "(?5 IS NULL OR (" key ", id) " than " (SELECT " key ", id FROM job WHERE id = ?5))"
#define SORT(name, index, key)                                                                                       \
	{ name, LIST(index, key, "ASC", BEYOND(key, ">")) },                                                         \
	{                                                                                                            \
		"-" name, LIST(index, key, "DESC", BEYOND(key, "<"))                                                 \
	}

static const struct {
	const char *name, *sql;
} sorts[] = {
	{ "-created", LIST(job_listed_by_id, "id", "DESC", "id < coalesce(?5, '~')") },
	{ "created", LIST(job_listed_by_id, "id", "ASC", "id > coalesce(?5, '')") },
	SORT("name", job_listed_by_name, "name"),
	SORT("state", job_listed_by_state, "state"),
	SORT("priority", job_listed_by_priority, "priority"),
	SORT("workflow", job_listed_by_workflow, "workflow"),
	SORT("finished", job_listed_by_finish, "coalesce(finished_us, 0)"),
};

int job_list(struct store_tx *tx, const struct job_filter *filter, json_t **jobs, struct rounds_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(sorts); i++)
		if (!strcmp(sorts[i].name, filter->sort ? filter->sort : "-created"))
			return db_rows(tx, error, jobs, sorts[i].sql, "sssssij", filter->state, filter->project,
				filter->site, filter->text, filter->after, filter->limit, filter->scope->projects);
	return error_field(error, "sort",
		"must be created, name, state, priority, workflow or finished, with \"-\" before it for downwards");
}

int job_list_queued(struct store_tx *tx, json_t **jobs, struct rounds_error *error)
{
	return db_rows(tx, error, jobs,
		"SELECT " WHOLE " FROM job WHERE state = 'queued' ORDER BY priority DESC, id LIMIT 200", "");
}

int job_list_running(struct store_tx *tx, json_t **jobs, struct rounds_error *error)
{
	return db_rows(tx, error, jobs,
		"SELECT id, round, reason, takes_late AS \"takes_late:bool\" FROM job WHERE state = 'running' ORDER BY id",
		"");
}

int job_list_held(struct store_tx *tx, json_t **jobs, struct rounds_error *error)
{
	return db_rows(tx, error, jobs, "SELECT " WHOLE " FROM job WHERE state = 'paused' AND held = 1", "");
}

int job_move(struct store_tx *tx, const char *id, const char *from, enum job_state to,
	const struct job_change *change, struct rounds_error *error)
{
	if (state_check(&job_machine, from, (int)to, error) ||
		db_run(tx, error,
			"UPDATE job SET state = ?3, reason = ?4, paused_at = nullif(?5, 0), held = ?6, version = version + 1,"
			" started_us = CASE WHEN ?3 = 'running' THEN coalesce(started_us, ?7) ELSE started_us END,"
			" finished_us = CASE WHEN ?3 IN ('completed', 'failed', 'aborted') THEN ?7 END"
			" WHERE id = ?1 AND state = ?2",
			"ssssiii", id, from, job_machine.states[to].name, change->reason, change->paused_at,
			(int64_t)change->held, db_wall_us(tx)))
		return -1;
	return state_moved(tx, &job_machine, from, error);
}

int job_regrant(struct store_tx *tx, int64_t now, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE job SET paused_at = ?1 WHERE paused_at IS NOT NULL", "i", now);
}

int job_set_reason(struct store_tx *tx, const char *id, const char *reason, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE job SET reason = ?2 WHERE id = ?1", "ss", id, reason);
}

int job_set_progress(struct store_tx *tx, const char *id, json_t *progress, struct rounds_error *error)
{
	return progress_set(tx, id, progress, error);
}

int job_set_round(struct store_tx *tx, const char *id, int64_t round, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE job SET round = ?2, version = version + 1 WHERE id = ?1", "si", id, round);
}

int job_expect_rounds(struct store_tx *tx, const char *id, int64_t rounds, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE job SET rounds = ?2 WHERE id = ?1", "si", id, rounds);
}

int job_set_model(struct store_tx *tx, const char *id, const char *model, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE job SET model = ?2, version = version + 1 WHERE id = ?1", "ss", id, model);
}

int job_set_best(struct store_tx *tx, const char *id, const char *model, int64_t round, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE job SET best = ?2, best_round = ?3, version = version + 1 WHERE id = ?1",
		"ssi", id, model, round);
}

int job_edit(struct store_tx *tx, const char *id, int64_t version, const char *name, int64_t priority,
	struct rounds_error *error)
{
	if (db_run(tx, error,
		    "UPDATE job SET name = ?3, priority = ?4, version = version + 1 WHERE id = ?1 AND (?2 < 0 OR "
		    "version = ?2)",
		    "sisi", id, version, name, priority))
		return -1;
	if (db_changes(tx) == 0)
		return error_set(error, ERROR_PRECONDITION, "the job has changed since it was read; read it again");
	return 0;
}

int job_delete(struct store_tx *tx, const char *id, struct rounds_error *error)
{
	specs_drop(tx->specs, id);
	return db_run(tx, error, "DELETE FROM job WHERE id = ?1", "s", id);
}

int job_take_site(struct store_tx *tx, const char *id, const char *site, struct rounds_error *error)
{
	return db_run(tx, error, "INSERT INTO job_site(job, site) VALUES(?1, ?2)", "ss", id, site);
}

int job_free_sites(struct store_tx *tx, const char *id, struct rounds_error *error)
{
	return db_run(tx, error, "DELETE FROM job_site WHERE job = ?1", "s", id);
}

int job_sites(struct store_tx *tx, const char *id, json_t **sites, struct rounds_error *error)
{
	return db_rows(tx, error, sites, "SELECT site FROM job_site WHERE job = ?1 ORDER BY site", "s", id);
}

int job_list_at_site(struct store_tx *tx, const char *site, json_t **jobs, struct rounds_error *error)
{
	return db_rows(tx, error, jobs, "SELECT job FROM job_site WHERE site = ?1 ORDER BY job", "s", site);
}

int job_count_health(
	struct store_tx *tx, int64_t *held, int64_t *unverified, int64_t *broken, struct rounds_error *error)
{
	return db_integer(tx, error, 0, held, "SELECT count(*) FROM job WHERE state = 'paused' AND held = 1", "") ||
			       db_integer(tx, error, 0, unverified,
				       "SELECT count(*) FROM (SELECT 1 FROM job" BY_INDEX(
					       job_unverified) "WHERE state = 'completed' AND verified IS NULL LIMIT 1000)",
				       "") ||
			       db_integer(tx, error, 0, broken,
				       "SELECT count(*) FROM job" BY_INDEX(job_broken) "WHERE verified = 0", "")
		       ? -1
		       : 0;
}

int job_count_by_state(struct store_tx *tx, json_t **counts, struct rounds_error *error)
{
	return db_rows(tx, error, counts,
		"SELECT state, count(*) AS count FROM job" BY_INDEX(job_by_state) "GROUP BY state", "");
}
