/* Tasks under lease: what a site may do with them, and what each does to the job. */
#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/fields.h"
#include "common/json.h"
#include "server/aggregate/boosters.h"
#include "server/aggregate/update_check.h"
#include "server/store/blob_index.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct report {
	struct engine *engine;
	const char *site, *id;
	const json_t *body;
	json_t *task; /* the row */
	json_t *job;  /* its row */
	json_t **answer;
	const char *update;  /* digest, or NULL */
	struct draft *small; /* an update that came with the result, until the index knows it */
	uint64_t small_size; /* its bytes; 0: it was uploaded */
	double weight, distance;
	const json_t *metrics;
	json_t *timings; /* checked, with defaults */
};

static void report_free(struct report *report)
{
	json_decref(report->task);
	json_decref(report->job);
	report->task = report->job = NULL;
}

/* Another site's task is as unknown as one that never was. */
static int find_own(struct store_tx *tx, struct report *report, struct rounds_error *error)
{
	if (task_find(tx, report->id, &report->task, error))
		return -1;
	if (strcmp(json_text_or(report->task, "site", ""), report->site) != 0)
		return error_set(error, ERROR_NOT_FOUND, "there is no task %.64s", report->id);
	return job_find(tx, json_text_or(report->task, "job", ""), &report->job, error);
}

static int find_own_read(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return find_own(tx, argument, error);
}

/* ERROR_CONFLICT with the reason, unless the site may still work on it. */
static int check_open(const struct report *report, struct rounds_error *error)
{
	const char *state = json_text_or(report->task, "state", "");
	const char *reason = json_text_or(report->task, "reason", NULL);

	if (!state_is_final(&task_machine, state))
		return 0;
	return error_set(
		error, ERROR_CONFLICT, "the task is %s%s%s", state, reason ? ": " : "", reason ? reason : "");
}

static int64_t lease_end(const struct report *report)
{
	return clock_steady_us() + json_integer_or(report->task, "lease_us", 60 * SECOND_US);
}

static int check_metrics(const json_t *metrics, struct rounds_error *error)
{
	const char *name;
	json_t *value;
	char field[160];

	if (metrics && !json_is_null(metrics) && !json_is_object(metrics))
		return error_field(error, "metrics", "must be an object of names and numbers");
	if (json_object_size(metrics) > 1000)
		return error_field(error, "metrics", "may have at most 1000 entries");
	json_object_foreach ((json_t *)(uintptr_t)metrics, name, value) {
		snprintf(field, sizeof(field), "metrics.%.100s", name);
		if (strlen(name) < 1 || strlen(name) > 63)
			return error_field(error, field, "a metric's name has 1 to 63 characters");
		if (!json_is_number(value) && !json_is_null(value))
			return error_field(error, field, "must be a number, or null where it was not finite");
	}
	return 0;
}

static int heartbeat(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;
	struct task_change again = { 0 };
	const json_t *log = json_object_get(report->body, "log");
	struct task_progress progress = {
		.stage = json_text_or(report->body, "stage", NULL),
		.fraction = json_number_or(report->body, "fraction", NAN),
		.metrics = json_object_get(report->body, "metrics"),
	};

	if (json_is_null(progress.metrics))
		progress.metrics = NULL;
	if (find_own(tx, report, error) || check_open(report, error) || check_metrics(progress.metrics, error))
		return -1;
	if (progress.stage && strlen(progress.stage) > 63)
		return error_field(error, "stage", "must have at most 63 characters");
	if (log && keep_log(report->engine, tx, report->task, log, error))
		return -1;
	/* Its lease had run out, but nobody else has begun: it goes on. */
	again.lease_due = lease_end(report);
	if (!strcmp(json_text_or(report->task, "state", ""), "pending") &&
		task_move(tx, report->id, "pending", TASK_LEASED, &again, error))
		return -1;
	if (task_extend(tx, report->id, lease_end(report), &progress, error) ||
		tell_progress(report->engine, tx, json_text_or(report->task, "job", ""), error))
		return -1;
	*report->answer = json_pack("{s:s, s:I}", "state", "leased", "lease_seconds",
		(json_int_t)(json_integer_or(report->task, "lease_us", 0) / SECOND_US));
	return *report->answer ? 0 : error_no_memory(error);
}

int engine_heartbeat(struct engine *engine, const char *site, const char *task, const json_t *body, json_t **answer,
	struct rounds_error *error)
{
	struct report report = { .engine = engine, .site = site, .id = task, .body = body, .answer = answer };
	int failed = store_write(engine->options.store, heartbeat, &report, error);

	presence_touch(engine->presence, site);
	report_free(&report);
	return failed;
}

static const struct field timing_fields[] = {
	{ "download", FIELD_NUMBER, "Seconds until the model was there", .fallback = "0.0", .min = 0, .max = 1e9 },
	{ "train", FIELD_NUMBER, "Seconds of the executor", .fallback = "0.0", .min = 0, .max = 1e9 },
	{ "upload", FIELD_NUMBER, "Seconds until the update was delivered", .fallback = "0.0", .min = 0, .max = 1e9 },
	{ "downloaded", FIELD_INTEGER, "Bytes fetched", .fallback = "0", .min = 0, .max = 1e15 },
	{ "uploaded", FIELD_INTEGER, "Bytes delivered", .fallback = "0", .min = 0, .max = 1e15 },
	{ "round_trip", FIELD_NUMBER, "Seconds of a round trip to the server", .fallback = "0.0", .min = 0,
		.max = 1e6 },
	{ NULL },
};

static int check_timings(struct report *report, struct rounds_error *error)
{
	const json_t *given = json_object_get(report->body, "timings");
	json_auto_t *faults = json_array();

	if (!given || json_is_null(given) || report->timings)
		return 0;
	report->timings = fields_apply(timing_fields, given, "timings", faults);
	return report->timings ? 0 : fields_error(faults, error);
}

static int keep_timings(const struct report *report, struct store_tx *tx, struct rounds_error *error)
{
	double round_trip = json_number_or(report->timings, "round_trip", 0);

	if (!report->timings)
		return 0;
	return site_moved(tx, report->site, json_integer_or(report->timings, "downloaded", 0),
		json_integer_or(report->timings, "uploaded", 0), (int64_t)(round_trip * (double)SECOND_US), error);
}

static int check_body(struct report *report, struct rounds_error *error)
{
	bool trains = strcmp(json_text_or(report->task, "kind", ""), "evaluate") != 0;
	struct digest digest;

	report->metrics = json_object_get(report->body, "metrics");
	if (json_is_null(report->metrics))
		report->metrics = NULL;
	report->weight = 1;
	if (json_get_text(report->body, "update", trains, &report->update, error) ||
		json_get_number(report->body, "weight", false, &report->weight, error) ||
		check_metrics(report->metrics, error) || check_timings(report, error))
		return -1;
	if (!isfinite(report->weight) || report->weight <= 0)
		return error_field(error, "weight", "must be a positive number: how many samples were used");
	if (report->update && !digest_parse(report->update, &digest))
		return error_field(error, "update", "must be sha256: and 64 hexadecimal digits");
	if (!trains)
		report->update = NULL;
	return 0;
}

static int owns_update(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;
	char owner[80];
	bool owned;

	snprintf(owner, sizeof(owner), "site:%s", report->site);
	if (blob_index_owned(tx, report->update, owner, &owned, error))
		return -1;
	return owned ? 0 : error_set(error, ERROR_BLOB_MISSING, "the update has not been uploaded by this site");
}

static enum updates updates_of(const json_t *job)
{
	const struct workflow *workflow = workflow_find(json_text_or(json_object_get(job, "spec"), "workflow", ""));

	return workflow ? workflow->updates : UPDATES_LIKE_MODEL;
}

static int hold(struct blobs *blobs, const char *text, struct view *view, struct rounds_error *error)
{
	struct digest digest;

	if (!digest_parse(text, &digest))
		return error_set(error, ERROR_INTERNAL, "weights without a digest");
	if (!blob_hold(blobs, &digest, view, error))
		return 0;
	if (error->kind == ERROR_NOT_FOUND)
		error_set(error, ERROR_BLOB_MISSING, "the weights %s are not there any more", text);
	return -1;
}

/* Reads the whole update; no transaction is open meanwhile. */
static int check_update(struct report *report, struct rounds_error *error)
{
	struct blobs *blobs = report->engine->options.blobs;
	const char *model = json_text_or(report->task, "model", NULL);
	double bound = json_number_or(json_object_get(report->job, "spec"), "max_update_norm", 0);
	scoped(view_release) struct view update = { 0 };
	scoped(view_release) struct view model_view = { 0 };
	const struct view *begun = model ? &model_view : NULL;

	if (small_update_take(report->engine, report->body, &report->small, &report->small_size, error) ||
		(!report->small_size && store_read(report->engine->options.store, owns_update, report, error)))
		return -1;
	if (hold(blobs, report->update, &update, error) || (model && hold(blobs, model, &model_view, error)))
		return -1;
	if (updates_of(report->job) == UPDATES_BOOSTERS)
		return boosters_check(&update, begun, error);
	if (updates_of(report->job) == UPDATES_ANY)
		return update_check(&update, NULL, 0, &report->distance, error);
	/* An initial model lies as far from nothing as it likes. */
	return update_check(&update, begun, begun ? bound : 0, &report->distance, error);
}

/* An update that came with its result is entered in the index together with it. */
static int enter_small(const struct report *report, struct store_tx *tx, struct rounds_error *error)
{
	struct digest digest;
	char owner[80];

	snprintf(owner, sizeof(owner), "site:%s", report->site);
	if (!report->small_size || !digest_parse(report->update, &digest))
		return 0;
	return blob_add_in(tx, &digest, report->small_size, owner, error);
}

/* A metric that is not finite is stored as missing, and said once. */
static int note_missing(struct report *report, struct store_tx *tx, struct rounds_error *error)
{
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)report->metrics, name, value) {
		char text[200];
		struct new_event event = { .kind = "metric_missing",
			.site = report->site,
			.message = text,
			.round = json_integer_or(report->task, "round", -1) };

		if (!json_is_null(value))
			continue;
		snprintf(text, sizeof(text), "the metric \"%s\" is not finite at %s; it is shown as missing", name,
			report->site);
		if (event_metric_missing(tx, json_text_or(report->job, "id", ""), &event, error))
			return -1;
	}
	return 0;
}

static json_t *first_answer(const struct report *report)
{
	return json_pack("{s:b, s:s, s:O, s:s?, s:o}", "accepted", 1, "task", report->id, "round",
		json_object_get(report->task, "round"), "update", report->update, "distance",
		report->update ? json_number_or_null(report->distance) : json_null());
}

/* The same result again gets the first one's answer. */
static bool is_repeated(const struct report *report)
{
	const char *known = json_text_or(report->task, "update", NULL);

	if (strcmp(json_text_or(report->task, "state", ""), "done") != 0)
		return false;
	return report->update ? known && !strcmp(known, report->update) : !known;
}

static int accept(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;
	json_auto_t *answer = NULL;
	struct task_result result = {
		.update = report->update,
		.weight = report->weight,
		.metrics = report->metrics,
		.timings = report->timings,
	};
	struct task_change change = { 0 };
	const char *job, *kind;
	struct event event = { .kind = EVENT_RESULT, .site = report->site, .model = report->update };
	char text[160];

	report_free(report);
	if (find_own(tx, report, error))
		return -1;
	job = json_text_or(report->job, "id", "");
	event.task = kind = json_text_or(report->task, "kind", "");
	event.round = json_integer_or(report->task, "round", 0);
	event.weight = report->weight;
	event.distance = report->distance;
	event.metrics = report->metrics;
	if (is_repeated(report)) {
		*report->answer = json_incref(json_object_get(report->task, "result"));
		return 0;
	}
	if (check_open(report, error))
		return -1;
	answer = first_answer(report);
	if (!answer)
		return error_no_memory(error);
	result.answer = answer;
	change.result = &result;
	snprintf(text, sizeof(text), "%s delivered (%s)", report->site, kind);
	if (task_move(tx, report->id, json_text_or(report->task, "state", ""), TASK_DONE, &change, error) ||
		enter_small(report, tx, error) || keep_timings(report, tx, error) ||
		(report->update && (blob_index_need(tx, report->update, error) ||
					   blob_use(tx, job, report->update, "update", event.round, error))) ||
		(report->update && event.round > 0 && updates_of(report->job) == UPDATES_LIKE_MODEL &&
			metric_set(tx, job, event.round, report->site, "update_norm", report->distance, error)) ||
		note(report->engine, tx, job, event.round, "result", report->site, text, error) ||
		note_missing(report, tx, error) || advance(report->engine, tx, job, &event, error))
		return -1;
	*report->answer = json_incref(answer);
	return 0;
}

struct refusal {
	struct report *report;
	const char *reason;
};

static int refuse(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct refusal *refusal = argument;
	json_auto_t *task = NULL;
	char text[700];

	if (task_find(tx, refusal->report->id, &task, error) ||
		state_is_final(&task_machine, json_text_or(task, "state", "")))
		return 0;
	snprintf(text, sizeof(text), "its update was refused: %s", refusal->reason);
	return task_failed_in(refusal->report->engine, tx, task, true, text, error);
}

static int take_result(struct report *report, struct rounds_error *error)
{
	struct store *store = report->engine->options.store;
	struct refusal refusal = { report, error->message };
	struct rounds_error ignored;

	if (store_read(store, find_own_read, report, error) || check_body(report, error))
		return -1;
	if (is_repeated(report)) {
		*report->answer = json_incref(json_object_get(report->task, "result"));
		return 0;
	}
	if (check_open(report, error))
		return -1;
	if (report->update && check_update(report, error)) {
		if (error->kind == ERROR_UNPROCESSABLE && store_write(store, refuse, &refusal, &ignored))
			*error = ignored;
		return -1;
	}
	return store_write(store, accept, report, error);
}

int engine_result(struct engine *engine, const char *site, const char *task, const json_t *body, json_t **answer,
	struct rounds_error *error)
{
	struct report report = { .engine = engine, .site = site, .id = task, .body = body, .answer = answer };
	int failed = take_result(&report, error);

	presence_touch(engine->presence, site);
	report_free(&report);
	draft_free(report.small);
	json_decref(report.timings);
	return failed;
}

int task_failed_in(struct engine *engine, struct store_tx *tx, const json_t *task, bool for_good, const char *reason,
	struct rounds_error *error)
{
	const char *id = json_text_or(task, "id", ""), *site = json_text_or(task, "site", "");
	const char *job_id = json_text_or(task, "job", "");
	int64_t round = json_integer_or(task, "round", 0), failures = json_integer_or(task, "failures", 0) + 1;
	json_auto_t *job = NULL;
	int64_t most;
	char text[700];
	struct event event = { .kind = EVENT_TASK_FAILED,
		.round = round,
		.task = json_text_or(task, "kind", ""),
		.site = site,
		.reason = reason };
	const struct task_change change = { .failed = true, .reason = reason };

	if (job_find(tx, job_id, &job, error))
		return -1;
	most = json_integer_or(json_object_get(job, "spec"), "max_attempts", 3);
	if (!for_good && failures < most) {
		snprintf(text, sizeof(text), "%s: try %lld of %lld failed: %s", site, (long long)failures,
			(long long)most, reason);
		return task_move(tx, id, json_text_or(task, "state", ""), TASK_PENDING, &change, error) ||
				       note(engine, tx, job_id, round, "task_retry", site, text, error) ||
				       wake_site(engine, tx, site, error)
			       ? -1
			       : 0;
	}
	snprintf(text, sizeof(text), "%s failed: %s", site, reason);
	return task_move(tx, id, json_text_or(task, "state", ""), TASK_FAILED, &change, error) ||
			       note(engine, tx, job_id, round, "task_failed", site, text, error) ||
			       advance(engine, tx, job_id, &event, error)
		       ? -1
		       : 0;
}

static int fail(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;
	const char *reason = "";
	char text[512];

	if (find_own(tx, report, error) || json_get_text(report->body, "reason", true, &reason, error))
		return -1;
	if (!strcmp(json_text_or(report->task, "state", ""), "failed"))
		return 0; /* said twice */
	if (check_open(report, error))
		return -1;
	snprintf(text, sizeof(text), "%.500s", *reason ? reason : "no reason given");
	if (!strcmp(json_text_or(report->task, "state", ""), "pending"))
		return 0; /* its lease ran out before: that has been counted */
	return task_failed_in(
		report->engine, tx, report->task, !json_bool_or(report->body, "retry", true), text, error);
}

int engine_failure(
	struct engine *engine, const char *site, const char *task, const json_t *body, struct rounds_error *error)
{
	struct report report = { .engine = engine, .site = site, .id = task, .body = body };
	int failed = store_write(engine->options.store, fail, &report, error);

	presence_touch(engine->presence, site);
	report_free(&report);
	return failed;
}

static int release(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;
	const struct task_change change = { .reason = "the site gave it back" };

	if (find_own(tx, report, error) || check_open(report, error))
		return -1;
	if (!strcmp(json_text_or(report->task, "state", ""), "pending"))
		return 0; /* its lease ran out before */
	return task_move(tx, report->id, json_text_or(report->task, "state", ""), TASK_PENDING, &change, error) ||
			       note(report->engine, tx, json_text_or(report->job, "id", ""),
				       json_integer_or(report->task, "round", -1), "task_released", report->site,
				       "the site gave its task back", error)
		       ? -1
		       : 0;
}

int engine_release(struct engine *engine, const char *site, const char *task, struct rounds_error *error)
{
	struct report report = { .engine = engine, .site = site, .id = task };
	int failed = store_write(engine->options.store, release, &report, error);

	report_free(&report);
	return failed;
}

void engine_site_gone(struct engine *engine, const char *site)
{
	char key[80];

	presence_forget(engine->presence, site);
	snprintf(key, sizeof(key), "site:%s", site);
	engine->options.wake(engine->options.context, key);
	engine_kick(engine);
}
