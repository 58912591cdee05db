/* Results: what a site delivers is checked whole, counts once, and moves the job. */
#include "server/engine/report.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/text.h"
#include "server/aggregate/boosters.h"
#include "server/aggregate/update_check.h"
#include "server/store/blob_index.h"
#include "server/store/identities.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct result {
	struct report report;
	const char *update;  /* digest, or NULL */
	struct draft *small; /* an update that came with the result, until the index knows it */
	uint64_t small_size; /* its bytes; 0: it was uploaded */
	double weight;       /* 0: there was nothing to train with, and the update is no input */
	double distance;
	const char *refusal;
};

static int find_read(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct result *result = argument;

	return report_find(&result->report, tx, error);
}

static int keep_timings(const struct report *report, struct store_tx *tx, struct rounds_error *error)
{
	double round_trip = json_number_or(report->timings, "round_trip", 0);

	if (!report->timings)
		return 0;
	return site_moved(tx, report->site, json_integer_or(report->timings, "downloaded", 0),
		json_integer_or(report->timings, "uploaded", 0), (int64_t)(round_trip * (double)SECOND_US), error);
}

static int check_body(struct result *result, struct rounds_error *error)
{
	const json_t *body = result->report.body;
	bool trains = strcmp(json_text_or(result->report.task, "kind", ""), "evaluate") != 0;
	struct digest digest;

	if (!body)
		return error_set(error, ERROR_INVALID, "the body must be a JSON object");
	result->weight = 1;
	if (report_read(&result->report, error) || json_get_text(body, "update", trains, &result->update, error) ||
		json_get_number(body, "weight", false, &result->weight, error))
		return -1;
	if (!isfinite(result->weight) || result->weight < 0)
		return error_field(error, "weight", "must be how many samples were used, 0 or more");
	if (result->update && !digest_parse(result->update, &digest))
		return error_field(error, "update", "must be sha256: and 64 hexadecimal digits");
	if (!trains)
		result->update = NULL;
	return 0;
}

static int owns_update(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct result *result = argument;
	char owner[80];
	bool owned;

	snprintf(owner, sizeof(owner), "site:%s", result->report.site);
	if (blob_index_owned(tx, result->update, owner, &owned, error))
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
static int check_update(struct result *result, struct rounds_error *error)
{
	const struct report *report = &result->report;
	struct blobs *blobs = report->engine->options.blobs;
	const char *model = json_text_or(report->task, "model", NULL);
	double bound = json_number_or(json_object_get(report->job, "spec"), "max_update_norm", 0);
	scoped(view_release) struct view update = { 0 };
	scoped(view_release) struct view model_view = { 0 };
	const struct view *begun = model ? &model_view : NULL;

	if (small_update_take(report->engine, report->body, &result->small, &result->small_size, error) ||
		(!result->small_size && store_read(report->engine->options.store, owns_update, result, error)))
		return -1;
	if (hold(blobs, result->update, &update, error) || (model && hold(blobs, model, &model_view, error)))
		return -1;
	if (updates_of(report->job) == UPDATES_BOOSTERS)
		return boosters_check(&update, begun, error);
	if (updates_of(report->job) == UPDATES_ANY)
		return update_check(&update, NULL, 0, &result->distance, error);
	/* An initial model lies as far from nothing as it likes. */
	return update_check(&update, begun, begun ? bound : 0, &result->distance, error);
}

/* An update that came with its result is entered in the index together with it. */
static int enter_small(const struct result *result, struct store_tx *tx, struct rounds_error *error)
{
	struct digest digest;
	char owner[80];

	snprintf(owner, sizeof(owner), "site:%s", result->report.site);
	if (!result->small_size || !digest_parse(result->update, &digest))
		return 0;
	return blob_add_in(tx, &digest, result->small_size, owner, error);
}

/* A metric that is not finite is stored as missing, and said once. */
static int note_missing(const struct report *report, struct store_tx *tx, struct rounds_error *error)
{
	const char *name;
	json_t *value;

	json_object_foreach (report->metrics, name, value) {
		char text[400];
		struct new_event event = { .kind = "metric_missing",
			.site = report->site,
			.message = text,
			.round = json_integer_or(report->task, "round", -1) };

		if (!json_is_null(value))
			continue;
		text_print(text, sizeof(text), "the metric \"%s\" is not finite at %s; it is shown as missing", name,
			report->site);
		if (event_metric_missing(tx, json_text_or(report->job, "id", ""), &event, error))
			return -1;
	}
	return 0;
}

static json_t *first_answer(const struct result *result)
{
	return json_pack("{s:b, s:s, s:O, s:s?, s:o}", "accepted", 1, "task", result->report.id, "round",
		json_object_get(result->report.task, "round"), "update", result->update, "distance",
		result->update ? json_number_or_null(result->distance) : json_null());
}

/* The same result again gets the first one's answer. */
static bool is_repeated(const struct result *result)
{
	const char *known = json_text_or(result->report.task, "update", NULL);

	if (strcmp(report_state(&result->report), "done") != 0)
		return false;
	return result->update ? known && !strcmp(known, result->update) : !known;
}

/* The row, what belongs to it, and what a person should know. */
static int record_result(struct result *result, struct store_tx *tx, const json_t *answer, struct rounds_error *error)
{
	const struct report *report = &result->report;
	const char *job = json_text_or(report->job, "id", ""), *kind = json_text_or(report->task, "kind", "");
	int64_t round = json_integer_or(report->task, "round", 0);
	const struct task_result row = {
		.update = result->update,
		.weight = result->weight,
		.metrics = report->metrics,
		.timings = report->timings,
		.answer = answer,
	};
	const struct task_change change = { .result = &row };
	bool measured = result->update && round > 0 && updates_of(report->job) == UPDATES_LIKE_MODEL;
	char text[200];

	snprintf(text, sizeof(text), "%s delivered (%s)%s", report->site, kind,
		result->weight > 0 ? "" : ": it had no samples, so this does not count in any mean");
	return task_move(tx, report->id, report_state(report), TASK_DONE, &change, error) ||
			       enter_small(result, tx, error) || keep_timings(report, tx, error) ||
			       (result->update &&
				       (blob_index_need(tx, result->update, error) ||
					       blob_use(tx, job, result->update, "update", round, error))) ||
			       (measured && metric_set(tx, job, round, report->site, "update_norm", result->distance,
						    error)) ||
			       note(report->engine, tx, job, round, "result", report->site, text, error) ||
			       schema_note_lacks(report->engine, tx, report->job, report->task,
				       json_object_get(report->body, "lacks"), error) ||
			       note_missing(report, tx, error) || report_note_left_out(report, tx, error)
		       ? -1
		       : 0;
}

static int accept(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct result *result = argument;
	struct report *report = &result->report;
	json_auto_t *answer = NULL;
	struct event event = { .kind = EVENT_RESULT,
		.site = report->site,
		.model = result->update,
		.weight = result->weight,
		.distance = result->distance,
		.metrics = report->metrics };

	if (report_find(report, tx, error))
		return -1;
	if (is_repeated(result)) {
		*report->answer = json_incref(json_object_get(report->task, "result"));
		return 0;
	}
	event.task = json_text_or(report->task, "kind", "");
	event.round = json_integer_or(report->task, "round", 0);
	if (report_check_open(report, error))
		return -1;
	answer = first_answer(result);
	if (!answer)
		return error_no_memory(error);
	if (record_result(result, tx, answer, error) ||
		advance(report->engine, tx, json_text_or(report->job, "id", ""), &event, error))
		return -1;
	*report->answer = json_incref(answer);
	return 0;
}

static int refuse(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct result *result = argument;
	struct report *report = &result->report;
	char reason[700];
	const struct task_fault fault = { .reason = reason, .for_good = true };

	if (report_find(report, tx, error))
		return -1;
	if (state_is_final(&task_machine, report_state(report)))
		return 0;
	text_print(reason, sizeof(reason), "its result was refused: %s", result->refusal);
	return task_failed_in(report->engine, tx, report->task, &fault, error);
}

/* What no other try would change: the site would train in vain. The rest passes, or is mended by an upload. */
static bool is_for_good(const struct rounds_error *error)
{
	return error->kind == ERROR_UNPROCESSABLE ||
	       (error->kind == ERROR_INVALID && strcmp(error->field, "update_data") != 0);
}

/* Says it to the site, and lets the task fail. Always -1. */
static int refuse_with(struct result *result, struct rounds_error *error)
{
	const char *field = error->kind == ERROR_INVALID ? error->field : "";
	struct rounds_error ignored;
	char refusal[600];

	if (!is_for_good(error))
		return -1;
	text_print(refusal, sizeof(refusal), "%s%s%s", field, *field ? " " : "", error->message);
	result->refusal = refusal;
	if (store_write(result->report.engine->options.store, refuse, result, &ignored))
		*error = ignored;
	return -1;
}

static int check(struct result *result, struct rounds_error *error)
{
	if (check_body(result, error))
		return refuse_with(result, error);
	if (is_repeated(result))
		return 0; /* the first one's answer is found with the row */
	if (report_check_open(&result->report, error))
		return -1;
	return result->update && check_update(result, error) ? refuse_with(result, error) : 0;
}

int engine_result(struct engine *engine, const char *site, const char *task, const json_t *body, json_t **answer,
	struct rounds_error *error)
{
	struct result result = {
		.report = { .engine = engine, .site = site, .id = task, .body = body, .answer = answer }
	};
	struct store *store = engine->options.store;
	int failed = store_read(store, find_read, &result, error) || check(&result, error) ||
		     store_write(store, accept, &result, error);

	heard_at_work(engine, site, task);
	report_free(&result.report);
	draft_free(result.small);
	return failed ? -1 : 0;
}
