/* From an event to the plan to the rows: the one place where a job moves. */
#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "server/engine/past.h"
#include "server/engine/plan.h"
#include "server/store/blob_index.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct advance {
	struct engine *engine;
	struct store_tx *tx;
	const char *id;    /* of the job */
	const json_t *job; /* its row */
	/* The files that the last task was planned with and got: the next site's are the same, most often. */
	const json_t *planned;
	json_t *issued;
	int64_t issued_round;
};

int note(struct engine *engine, struct store_tx *tx, const char *job, int64_t round, const char *kind,
	const char *site, const char *message, struct rounds_error *error)
{
	struct new_event event = { .kind = kind, .site = site, .message = message, .round = round };

	return note_event(engine, tx, job, &event, error);
}

int note_event(struct engine *engine, struct store_tx *tx, const char *job, const struct new_event *event,
	struct rounds_error *error)
{
	return event_add(tx, job, event, error) || wake_job(engine, tx, job, error) ? -1 : 0;
}

static int tell(
	struct engine *engine, struct store_tx *tx, enum topic topic, const char *id, struct rounds_error *error)
{
	char key[NOTICE_SIZE];

	notice_key(topic, id, key);
	return store_after_commit(tx, engine->options.wake, engine->options.context, key, error);
}

int wake_site(struct engine *engine, struct store_tx *tx, const char *site, struct rounds_error *error)
{
	return tell(engine, tx, TOPIC_SITE, site, error);
}

int wake_job(struct engine *engine, struct store_tx *tx, const char *job, struct rounds_error *error)
{
	return tell(engine, tx, TOPIC_JOB, job, error);
}

int tell_progress(struct engine *engine, struct store_tx *tx, const char *job, struct rounds_error *error)
{
	return tell(engine, tx, TOPIC_PROGRESS, job, error);
}

static void kick(void *engine, const char *key)
{
	(void)key;
	engine_kick(engine);
}

int kick_after(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	return store_after_commit(tx, kick, engine, "", error);
}

static void aggregate_soon(void *context, const char *key)
{
	struct engine *engine = context;

	(void)key;
	pthread_mutex_lock(&engine->lock);
	engine->work_to_aggregate = true;
	pthread_cond_signal(&engine->aggregate);
	pthread_mutex_unlock(&engine->lock);
}

static int record_round(struct advance *at, const json_t *action, struct rounds_error *error)
{
	int64_t round = json_integer_or(action, "round", 0);
	char text[60];

	snprintf(text, sizeof(text), "round %lld begins", (long long)round);
	return round_begin(at->tx, at->id, round, json_text_or(action, "model", NULL), error) ||
			       job_set_round(at->tx, at->id, round, error) ||
			       note(at->engine, at->tx, at->id, round, "round_started", NULL, text, error)
		       ? -1
		       : 0;
}

static int issue(struct advance *at, const json_t *planned, int64_t round, struct rounds_error *error)
{
	if (at->issued && at->issued_round == round && json_equal(at->planned, planned))
		return 0;
	json_decref(at->issued);
	at->issued = NULL;
	at->planned = planned;
	at->issued_round = round;
	return files_issue(at->tx, at->id, round, planned, &at->issued, error);
}

static int record_task(struct advance *at, const json_t *action, struct rounds_error *error)
{
	const json_t *spec = json_object_get(at->job, "spec");
	struct new_task task = {
		.job = at->id,
		.kind = json_text_or(action, "kind", ""),
		.site = json_text_or(action, "site", ""),
		.algorithm = json_object_get(action, "algorithm"),
		.round = json_integer_or(action, "round", 0),
		.lease_us = json_integer_or(spec, "lease_seconds", 60) * SECOND_US,
	};

	if (issue(at, json_object_get(action, "files"), task.round, error))
		return -1;
	task.files = at->issued;
	return task_insert(at->tx, &task, error) || wake_site(at->engine, at->tx, task.site, error) ? -1 : 0;
}

/* The open tasks of a round, or of all (-1). */
static int cancel_open(
	struct store_tx *tx, const char *job, int64_t round, const char *reason, struct rounds_error *error)
{
	const struct task_change change = { .reason = reason };
	json_auto_t *tasks = NULL;
	size_t i;
	json_t *task;

	if (task_list_open(tx, job, round, &tasks, error))
		return -1;
	json_array_foreach (tasks, i, task)
		if (task_move(tx, json_text_or(task, "id", ""), json_text_or(task, "state", ""), TASK_CANCELLED,
			    &change, error))
			return -1;
	return 0;
}

static int record_cancel(struct advance *at, const json_t *action, struct rounds_error *error)
{
	return cancel_open(
		at->tx, at->id, json_integer_or(action, "round", -1), json_text_or(action, "reason", NULL), error);
}

static int record_aggregate(struct advance *at, const json_t *action, struct rounds_error *error)
{
	int64_t round = json_integer_or(action, "round", 0);
	const struct round_change change = { .how = action, .kind = json_text_or(action, "kind", "") };
	json_auto_t *row = NULL;
	scoped(text_free) char *fault = NULL;

	if (schema_fault(at->tx, at->job, round, &fault, error) || round_find(at->tx, at->id, round, &row, error))
		return -1;
	if (fault)
		return job_end(at->engine, at->tx, at->job, JOB_FAILED, fault, error);
	return round_move(at->tx, at->id, round, json_text_or(row, "state", ""), ROUND_AGGREGATING, &change, error) ||
			       note(at->engine, at->tx, at->id, round, "aggregating", NULL, "aggregating the updates",
				       error) ||
			       store_after_commit(at->tx, aggregate_soon, at->engine, "", error)
		       ? -1
		       : 0;
}

static int record_timer(struct advance *at, const json_t *action, struct rounds_error *error)
{
	int64_t after = (int64_t)(json_number_or(action, "after", 0) * (double)SECOND_US);

	return timer_set(at->tx, at->id, json_text_or(action, "name", ""), after, engine_now(at->engine), error) ||
			       kick_after(at->engine, at->tx, error)
		       ? -1
		       : 0;
}

static int record_timer_off(struct advance *at, const json_t *action, struct rounds_error *error)
{
	return timer_clear(at->tx, at->id, json_text_or(action, "name", ""), error);
}

static int record_metric(struct advance *at, const json_t *action, struct rounds_error *error)
{
	return metric_set(at->tx, at->id, json_integer_or(action, "round", 0), json_text_or(action, "site", ""),
		json_text_or(action, "name", ""), json_number_or(action, "value", NAN), error);
}

/* The initial model is a round of its own, number 0, so that the lineage has a beginning. */
static int record_initial(struct advance *at, const char *model, struct rounds_error *error)
{
	json_auto_t *manifest = json_pack("{s:i, s:i, s:s, s:s, s:[]}", "version", 1, "round", 0, "method", "initial",
		"model", model, "inputs");
	scoped(text_free) char *text = json_canonical(manifest);
	char digest_text[DIGEST_TEXT_SIZE];
	struct digest digest;
	const struct round_change change = { .model = model, .manifest = manifest, .manifest_digest = digest_text };

	if (!text)
		return error_no_memory(error);
	digest_of(text, strlen(text), &digest);
	digest_format(&digest, digest_text);
	return round_begin(at->tx, at->id, 0, NULL, error) ||
			       round_move(at->tx, at->id, 0, "collecting", ROUND_DONE, &change, error)
		       ? -1
		       : 0;
}

static int record_model(struct advance *at, const json_t *action, struct rounds_error *error)
{
	int64_t round = json_integer_or(action, "round", 0);
	const char *model = json_text_or(action, "model", "");

	if (round == 0 && record_initial(at, model, error))
		return -1;
	if (job_set_model(at->tx, at->id, model, error) ||
		blob_use(at->tx, at->id, model, round ? "model" : "initial", round, error))
		return -1;
	return retain(at->tx, at->job, round, error);
}

static int record_expect(struct advance *at, const json_t *action, struct rounds_error *error)
{
	return job_expect_rounds(at->tx, at->id, json_integer_or(action, "rounds", 0), error);
}

static int record_best(struct advance *at, const json_t *action, struct rounds_error *error)
{
	int64_t round = json_integer_or(action, "round", 0);
	const char *model = json_text_or(action, "model", "");

	return blob_unuse(at->tx, at->id, "best", INT64_MAX, error) ||
			       blob_use(at->tx, at->id, model, "best", round, error) ||
			       job_set_best(at->tx, at->id, model, round, error)
		       ? -1
		       : 0;
}

static int record_note(struct advance *at, const json_t *action, struct rounds_error *error)
{
	return note(at->engine, at->tx, at->id, json_integer_or(action, "round", -1), "note", NULL,
		json_text_or(action, "text", ""), error);
}

static int record_complete(struct advance *at, const json_t *action, struct rounds_error *error)
{
	(void)action;
	return job_end(at->engine, at->tx, at->job, JOB_COMPLETED, NULL, error);
}

static int record_fail(struct advance *at, const json_t *action, struct rounds_error *error)
{
	return job_end(at->engine, at->tx, at->job, JOB_FAILED, json_text_or(action, "text", ""), error);
}

static const struct {
	const char *name;
	int (*record)(struct advance *at, const json_t *action, struct rounds_error *error);
} recorders[] = {
	{ "round", record_round },
	{ "task", record_task },
	{ "cancel", record_cancel },
	{ "aggregate", record_aggregate },
	{ "timer", record_timer },
	{ "timer_off", record_timer_off },
	{ "metric", record_metric },
	{ "model", record_model },
	{ "expect", record_expect },
	{ "best", record_best },
	{ "note", record_note },
	{ "complete", record_complete },
	{ "fail", record_fail },
};

static int record(struct advance *at, const json_t *action, struct rounds_error *error)
{
	const char *what = json_text_or(action, "do", "");

	for (size_t i = 0; i < ARRAY_SIZE(recorders); i++)
		if (!strcmp(recorders[i].name, what))
			return recorders[i].record(at, action, error);
	return error_set(error, ERROR_INTERNAL, "a workflow asked for \"%s\", which there is not", what);
}

/* Calls the step with the job as it stands; fills the plan and changes `state`. */
static int step(
	struct advance *at, const struct event *event, json_t *state, struct plan *plan, struct rounds_error *error)
{
	const json_t *spec = json_object_get(at->job, "spec");
	const struct workflow *workflow = workflow_find(json_text_or(spec, "workflow", ""));
	scoped(past_free) struct past past = { 0 };
	struct job_view view = {
		.params = json_object_get(spec, "params"),
		.initial_model = json_text_or(spec, "initial_model", NULL),
		.seed = (uint64_t)json_integer_or(spec, "seed", 1),
		.workflow = workflow,
		.history = past_begin(&past, at->tx, at->id, error),
	};

	if (!workflow)
		return error_set(error, ERROR_INTERNAL, "this server has no workflow \"%s\"",
			json_text_or(spec, "workflow", ""));
	if (!workflow->steps[event->kind])
		return 0;
	state_renew(state);
	workflow->steps[event->kind](&view, event, state, plan);
	if (past.failed)
		return -1;
	return plan->failed || !state ? error_no_memory(error) : 0;
}

struct advancing {
	struct engine *engine;
	const char *id;
	const struct event *event;
};

static int advance_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct advancing *advancing = argument;
	json_auto_t *job = NULL, *state = NULL, *actions = json_array();
	struct plan plan = { .actions = actions };
	struct advance at = { .engine = advancing->engine, .tx = tx, .id = advancing->id };
	size_t i;
	json_t *action;
	bool failed;

	if (job_find_at_work(tx, at.id, &job, error))
		return -1;
	if (state_is_final(&job_machine, json_text_or(job, "state", "")))
		return 0;
	at.job = job;
	if (job_progress(tx, at.id, &state, error) || step(&at, advancing->event, state, &plan, error) ||
		job_set_progress(tx, at.id, state, error))
		return -1;
	failed = false;
	json_array_foreach (actions, i, action)
		failed = failed || record(&at, action, error);
	json_decref(at.issued);
	return failed || wake_job(at.engine, tx, at.id, error) ? -1 : 0;
}

/* What may be gone at the next try; everything else is a fault of the job or of a workflow. */
static bool is_passing(enum error_kind kind)
{
	return kind == ERROR_NO_SPACE || kind == ERROR_NO_MEMORY || kind == ERROR_IO || kind == ERROR_UNAVAILABLE;
}

int advance(struct engine *engine, struct store_tx *tx, const char *id, const struct event *event,
	struct rounds_error *error)
{
	struct advancing advancing = { engine, id, event };
	json_auto_t *job = NULL;
	char reason[700];

	if (!store_nested(tx, advance_in, &advancing, error))
		return 0;
	if (is_passing(error->kind) || job_find(tx, id, &job, error))
		return -1;
	/* One job that cannot go on must not stop the others. */
	log_error("a job cannot go on", "job", id, "reason", error->message, NULL);
	snprintf(reason, sizeof(reason), "internal error: %s", error->message);
	return job_end(engine, tx, job, JOB_FAILED, reason, error);
}

int job_end(struct engine *engine, struct store_tx *tx, const json_t *job, enum job_state state, const char *reason,
	struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", ""), *name = job_machine.states[state].name;
	const struct job_change change = { .reason = reason };
	char text[700];

	if (job_move(tx, id, json_text_or(job, "state", ""), state, &change, error) ||
		timer_clear(tx, id, NULL, error) || job_free_sites(tx, id, error) ||
		cancel_open(tx, id, -1, "the job has ended", error) || blob_unuse_tasks(tx, id, error))
		return -1;
	snprintf(text, sizeof(text), "%s%s%s", name, reason ? ": " : "", reason ? reason : "");
	if (note(engine, tx, id, -1, name, NULL, text, error))
		return -1;
	return kick_after(engine, tx, error);
}
