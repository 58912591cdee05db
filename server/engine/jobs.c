/* What people ask of jobs. */
#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/uuid.h"
#include "server/aggregate/update_check.h"
#include "server/engine/roster.h"
#include "server/engine/spec.h"
#include "server/engine/trace.h"
#include "server/store/blob_index.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct submitting {
	struct engine *engine;
	const struct submission *asked;
	const json_t *spec; /* checked */
	json_t **job;
};

static int check_initial_model(struct submitting *submitting, struct store_tx *tx, struct rounds_error *error)
{
	const char *model = json_text_or(submitting->spec, "initial_model", NULL);
	json_auto_t *blob = NULL;

	if (!model)
		return 0;
	if (blob_index_find(tx, model, &blob, error))
		return -1;
	return blob ? 0 : error_field(error, "initial_model", "has not been uploaded to this server");
}

static int submit(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct submitting *submitting = argument;
	const json_t *params = json_object_get(submitting->spec, "params");
	const struct workflow *workflow = workflow_find(json_text_or(submitting->spec, "workflow", ""));
	const char *parent = submitting->asked->traceparent;
	const struct job_change change = { 0 };
	char id[UUID_TEXT_SIZE], trace[TRACE_SIZE];
	json_auto_t *sites = NULL, *roster = NULL, *warnings = NULL;
	struct new_job job = {
		.id = id,
		.submitted_by = submitting->asked->caller,
		.idempotency_key = submitting->asked->key,
		.spec = submitting->spec,
		.trace = trace,
		.rounds = workflow->rounds(params),
	};

	if (submitting->asked->key &&
		job_find_by_key(tx, submitting->asked->caller, submitting->asked->key, submitting->job, error))
		return -1;
	if (*submitting->job) {
		if (json_equal(json_object_get(*submitting->job, "spec"), submitting->spec))
			return 0;
		json_decref(*submitting->job);
		*submitting->job = NULL;
		return error_set(error, ERROR_CONFLICT, "this Idempotency-Key was used for a job with another spec");
	}
	if (strcmp(json_text_or(submitting->spec, "project", ""), "default") != 0)
		return error_field(error, "project", "there is no such project; use \"default\"");
	uuid_new(submitting->engine->options.world, id);
	if (!parent || !trace_parse(parent, trace))
		trace_of_job(id, trace);
	if (site_list(tx, &sites, error) ||
		roster_of(submitting->engine, tx, submitting->spec, sites, &roster, error))
		return -1;
	job.min_sites = (int64_t)roster_least(submitting->spec, roster);
	warnings = job_warnings(submitting->spec, sites, roster);
	job.warnings = warnings;
	if (check_initial_model(submitting, tx, error) || job_insert(tx, &job, error) ||
		job_move(tx, id, "submitted", JOB_QUEUED, &change, error))
		return -1;
	if (json_object_get(submitting->spec, "initial_model") &&
		blob_use(tx, id, json_text_or(submitting->spec, "initial_model", ""), "initial", 0, error))
		return -1;
	if (note(submitting->engine, tx, id, -1, "queued", NULL, "submitted; waiting for its sites", error) ||
		kick_after(submitting->engine, tx, error))
		return -1;
	return job_find(tx, id, submitting->job, error);
}

/* An uploaded model must be one: said now rather than by every site later. */
static int check_model_file(struct engine *engine, const json_t *spec, struct rounds_error *error)
{
	const char *model = json_text_or(spec, "initial_model", NULL);
	scoped(view_release) struct view view = { 0 };
	struct rounds_error fault = { 0 };
	struct digest digest;
	double norm;

	if (!model || !digest_parse(model, &digest))
		return 0;
	if (blob_hold(engine->options.blobs, &digest, &view, &fault) || !update_check(&view, NULL, 0, &norm, &fault))
		return 0; /* one that is not there is said where the index is asked */
	return error_field(error, "initial_model", "cannot be used: %s", fault.message);
}

int engine_submit(struct engine *engine, const struct submission *submission, json_t **job, json_t *faults,
	struct rounds_error *error)
{
	unsigned long before = json_shortages();
	json_auto_t *spec = spec_check(submission->spec, faults);
	struct submitting submitting = { engine, submission, spec, job };

	*job = NULL;
	if (json_shortages() != before)
		return error_no_memory(error);
	if (!spec)
		return fields_error(faults, error);
	if (check_model_file(engine, spec, error))
		return -1;
	if (!store_write(engine->options.store, submit, &submitting, error))
		return 0;
	json_decref(*job); /* of what was not committed */
	*job = NULL;
	return -1;
}

int job_pause_in(struct engine *engine, struct store_tx *tx, const json_t *job, const char *reason, bool held,
	struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", "");
	const struct job_change change = { .reason = reason, .paused_at = engine_now(engine), .held = held };
	char text[700];

	snprintf(text, sizeof(text), "paused: %s", reason);
	return job_move(tx, id, json_text_or(job, "state", ""), JOB_PAUSED, &change, error) ||
			       note(engine, tx, id, -1, "paused", NULL, text, error)
		       ? -1
		       : 0;
}

/* The time it was paused does not count against leases and deadlines. */
int job_resume_in(
	struct engine *engine, struct store_tx *tx, const json_t *job, const char *why, struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", "");
	int64_t now = engine_now(engine), away = now - json_integer_or(job, "paused_at", now);
	const struct job_change change = { 0 };
	json_auto_t *tasks = NULL;
	size_t i;
	json_t *task;

	if (job_move(tx, id, json_text_or(job, "state", ""), JOB_RUNNING, &change, error) ||
		timer_shift(tx, id, away, error) || task_shift(tx, id, away, error) ||
		note(engine, tx, id, -1, "resumed", NULL, why, error) || task_list_open(tx, id, -1, &tasks, error))
		return -1;
	json_array_foreach (tasks, i, task)
		if (wake_site(engine, tx, json_text_or(task, "site", ""), error))
			return -1;
	pthread_mutex_lock(&engine->lock);
	engine->work_to_aggregate = true;
	pthread_mutex_unlock(&engine->lock);
	return kick_after(engine, tx, error);
}

struct order {
	struct engine *engine;
	const char *id, *caller;
	enum job_command command;
};

static int command(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct order *order = argument;
	json_auto_t *job = NULL;
	char reason[120];

	if (job_find(tx, order->id, &job, error))
		return -1;
	snprintf(reason, sizeof(reason), "by %s", order->caller);
	switch (order->command) {
	case COMMAND_PAUSE:
		return job_pause_in(order->engine, tx, job, reason, false, error);
	case COMMAND_RESUME:
		return job_resume_in(order->engine, tx, job, reason, error);
	case COMMAND_ABORT:
		return job_end(order->engine, tx, job, JOB_ABORTED, reason, error);
	}
	return error_set(error, ERROR_INTERNAL, "unknown command");
}

int engine_command(
	struct engine *engine, const char *id, enum job_command what, const char *caller, struct rounds_error *error)
{
	struct order order = { engine, id, caller, what };

	return store_write(engine->options.store, command, &order, error);
}

static int delete_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct order *order = argument;
	json_auto_t *job = NULL;
	const char *state;

	if (job_find(tx, order->id, &job, error))
		return -1;
	state = json_text_or(job, "state", "");
	if (!state_is_final(&job_machine, state))
		return error_set(error, ERROR_CONFLICT, "the job is %s; abort it before you delete it", state);
	return job_delete(tx, order->id, error) || wake_job(order->engine, tx, order->id, error) ? -1 : 0;
}

int engine_delete(struct engine *engine, const char *job, bool *is_gone, struct rounds_error *error)
{
	struct order order = { .engine = engine, .id = job };

	if (store_write(engine->options.store, delete_in, &order, error))
		return -1;
	*is_gone = sweep_now(engine);
	return 0;
}
