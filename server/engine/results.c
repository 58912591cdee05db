/* Results: what a site delivers is checked whole, counts once, and moves the job. */
#include "server/engine/report.h"

#include "common/artifact.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/text.h"
#include "server/aggregate/boosters.h"
#include "server/aggregate/update_check.h"
#include "server/engine/protocol.h"
#include "server/store/blob_index.h"
#include "server/store/identities.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A file that the task asks for. */
struct delivered {
	struct output output;
	struct artifact file; /* text is borrowed from `brought`; the size is the server's own once it is checked */
	struct draft *small;  /* it came with the result, until the index knows it */
};

struct result {
	struct report report;
	json_t *brought; /* {name: {"digest", "size", "data"}}, as the site says */
	struct delivered files[OUTPUTS_MOST];
	size_t file_count;
	bool wants_upload; /* what is wrong is only that a file came with the result */
	double weight;     /* 0: there was nothing to train with, and what came is no input */
	double distance;   /* of the update from the model */
	const char *refusal;
	unsigned long
		shortages; /* of memory for JSON, until it was begun: what is wrong after others is not the site's fault */
};

static void result_free(struct result *result)
{
	for (size_t i = 0; i < result->file_count; i++)
		draft_free(result->files[i].small);
	json_decref(result->brought);
	report_free(&result->report);
}

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

static const struct workflow *workflow_of(const json_t *job)
{
	return workflow_find(json_text_or(json_object_get(job, "spec"), "workflow", ""));
}

/* Of what was brought, the files that such a task asks for; others are left where they are. */
static int find_files(struct result *result, struct rounds_error *error)
{
	const struct report *report = &result->report;
	const char *kind = json_text_or(report->task, "kind", "");
	const struct workflow *workflow = workflow_of(report->job);
	char field[ARTIFACT_FIELD_SIZE];
	struct output output;

	result->brought = protocol_result_files(report->body);
	if (!result->brought)
		return error_no_memory(error);
	if (artifacts_check(result->brought, "files", error))
		return -1;
	if (!workflow)
		return error_set(error, ERROR_INTERNAL, "this server has no such workflow");
	for (size_t at = 0; output_next(workflow, kind, &at, &output);) {
		struct delivered *delivered = &result->files[result->file_count++];

		delivered->output = output;
		snprintf(field, sizeof(field), "files.%s", output.file);
		if (!artifact_find(result->brought, output.file, &delivered->file))
			return error_field(error, field, "is missing: such a task's result brings it");
	}
	return 0;
}

static int check_body(struct result *result, struct rounds_error *error)
{
	const json_t *body = result->report.body;

	if (!body)
		return error_set(error, ERROR_INVALID, "the body must be a JSON object");
	result->weight = 1;
	if (report_read(&result->report, error) || find_files(result, error) ||
		json_get_number(body, "weight", false, &result->weight, error))
		return -1;
	if (!isfinite(result->weight) || result->weight < 0)
		return error_field(error, "weight", "must be how many samples were used, 0 or more");
	return 0;
}

struct owned {
	const char *digest, *site;
	bool is;
};

static int find_owned(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct owned *owned = argument;
	char owner[80];

	snprintf(owner, sizeof(owner), "site:%s", owned->site);
	return blob_index_owned(tx, owned->digest, owner, &owned->is, error);
}

/* What came with the result becomes a blob, all else this site has uploaded. */
static int take_file(struct result *result, struct delivered *delivered, struct rounds_error *error)
{
	struct engine *engine = result->report.engine;
	struct owned owned = { delivered->file.digest, result->report.site, false };

	if (small_file_take(engine, delivered->file.name, json_object_get(result->brought, delivered->file.name),
		    &delivered->small, error)) {
		result->wants_upload = true;
		return -1;
	}
	if (delivered->small)
		return 0;
	if (store_read(engine->options.store, find_owned, &owned, error))
		return -1;
	return owned.is ? 0
			: error_set(error, ERROR_BLOB_MISSING, "the %s has not been uploaded by this site",
				  delivered->file.name);
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

static int check_size(struct delivered *delivered, const struct view *view, struct rounds_error *error)
{
	char field[ARTIFACT_FIELD_SIZE];

	snprintf(field, sizeof(field), "files.%s.size", delivered->file.name);
	if (delivered->file.size >= 0 && (uint64_t)delivered->file.size != view->size)
		return error_field(
			error, field, "is not the file's: it has %llu bytes", (unsigned long long)view->size);
	delivered->file.size = (int64_t)view->size;
	return 0;
}

/* Reads the whole file; no transaction is open meanwhile. */
static int check_file(struct result *result, struct delivered *delivered, struct rounds_error *error)
{
	const struct report *report = &result->report;
	struct blobs *blobs = report->engine->options.blobs;
	const char *model = artifact_digest(json_object_get(report->task, "files"), "model");
	double bound = json_number_or(json_object_get(report->job, "spec"), "max_update_norm", 0);
	scoped(view_release) struct view file = { 0 };
	scoped(view_release) struct view model_view = { 0 };
	const struct view *begun = model ? &model_view : NULL;

	if (take_file(result, delivered, error) || hold(blobs, delivered->file.digest, &file, error) ||
		check_size(delivered, &file, error))
		return -1;
	switch (delivered->output.check) {
	case UPDATES_SEALED:
		return 0;
	case UPDATES_ANY:
		return update_check(&file, NULL, 0, &result->distance, error);
	case UPDATES_BOOSTERS:
		return model && hold(blobs, model, &model_view, error) ? -1 : boosters_check(&file, begun, error);
	case UPDATES_LIKE_MODEL:
		break;
	}
	/* An initial model lies as far from nothing as it likes. */
	return model && hold(blobs, model, &model_view, error)
		       ? -1
		       : update_check(&file, begun, begun ? bound : 0, &result->distance, error);
}

static int check_files(struct result *result, struct rounds_error *error)
{
	for (size_t i = 0; i < result->file_count; i++)
		if (check_file(result, &result->files[i], error))
			return -1;
	return 0;
}

/* The files now belong to the job; one that came with its result is entered in the index together with it. */
static int enter_files(const struct result *result, struct store_tx *tx, struct rounds_error *error)
{
	const struct report *report = &result->report;
	char owner[80];

	snprintf(owner, sizeof(owner), "site:%s", report->site);
	for (size_t i = 0; i < result->file_count; i++) {
		const struct delivered *delivered = &result->files[i];
		struct digest digest;

		if (delivered->small && digest_parse(delivered->file.digest, &digest) &&
			blob_add_in(tx, &digest, (uint64_t)delivered->file.size, owner, error))
			return -1;
		if (blob_index_need(tx, delivered->file.digest, error) ||
			blob_use(tx, json_text_or(report->job, "id", ""), delivered->file.digest, "update",
				json_integer_or(report->task, "round", 0), error))
			return -1;
	}
	return 0;
}

/* As they are kept with the task: a new reference; NULL without memory. */
static json_t *files_kept(const struct result *result)
{
	json_t *files = json_object();

	for (size_t i = 0; i < result->file_count; i++)
		if (artifact_put(files, &result->files[i].file)) {
			json_decref(files);
			return NULL;
		}
	return files;
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

/* The same result again gets the first one's answer. */
static bool is_repeated(const struct result *result)
{
	const json_t *known = json_object_get(result->report.task, "result_files");

	if (strcmp(report_state(&result->report), "done") != 0 || json_object_size(known) != result->file_count)
		return false;
	for (size_t i = 0; i < result->file_count; i++) {
		const struct artifact *file = &result->files[i].file;
		const char *digest = artifact_digest(known, file->name);

		if (!digest || strcmp(digest, file->digest) != 0)
			return false;
	}
	return true;
}

/* Whether `distance` says something: an update lies somewhere beside the model that it began from. */
static bool is_measured(const struct result *result)
{
	for (size_t i = 0; i < result->file_count; i++)
		if (result->files[i].output.check == UPDATES_LIKE_MODEL)
			return json_integer_or(result->report.task, "round", 0) > 0;
	return false;
}

/* The row, what belongs to it, and what a person should know. */
static int record_result(struct result *result, struct store_tx *tx, const json_t *files, const json_t *answer,
	struct rounds_error *error)
{
	const struct report *report = &result->report;
	const char *job = json_text_or(report->job, "id", ""), *kind = json_text_or(report->task, "kind", "");
	int64_t round = json_integer_or(report->task, "round", 0);
	const struct task_result row = {
		.files = files,
		.weight = result->weight,
		.metrics = report->metrics,
		.timings = report->timings,
		.answer = answer,
	};
	const struct task_change change = { .result = &row };
	char text[200];

	snprintf(text, sizeof(text), "%s delivered (%s)%s", report->site, kind,
		result->weight > 0 ? "" : ": it had no samples, so this does not count in any mean");
	return task_move(tx, report->id, report_state(report), TASK_DONE, &change, error) ||
			       enter_files(result, tx, error) || keep_timings(report, tx, error) ||
			       (is_measured(result) && metric_set(tx, job, round, report->site, "update_norm",
							       result->distance, error)) ||
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
	json_auto_t *answer = NULL, *files = files_kept(result);
	struct event event = { .kind = EVENT_RESULT,
		.site = report->site,
		.files = files,
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
	answer = protocol_result_answer(report->body, report->task, files, result->distance);
	if (!files || !answer)
		return error_no_memory(error);
	if (record_result(result, tx, files, answer, error) ||
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
static bool is_for_good(const struct result *result, const struct rounds_error *error)
{
	return error->kind == ERROR_UNPROCESSABLE || (error->kind == ERROR_INVALID && !result->wants_upload);
}

/* Says it to the site, and lets the task fail. Always -1. */
static int refuse_with(struct result *result, struct rounds_error *error)
{
	const char *field = error->kind == ERROR_INVALID ? error->field : "";
	struct rounds_error ignored;
	char refusal[600];

	if (json_shortages() != result->shortages)
		return error_no_memory(error);
	protocol_result_fault(result->report.body, error);
	if (!is_for_good(result, error))
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
	if (json_shortages() != result->shortages)
		return error_no_memory(error);
	if (is_repeated(result))
		return 0; /* the first one's answer is found with the row */
	if (report_check_open(&result->report, error))
		return -1;
	return check_files(result, error) ? refuse_with(result, error) : 0;
}

int engine_result(struct engine *engine, const char *site, const char *task, const json_t *body, json_t **answer,
	struct rounds_error *error)
{
	struct result result = {
		.report = { .engine = engine, .site = site, .id = task, .body = body, .answer = answer }
	};
	struct store *store = engine->options.store;
	int failed;

	result.shortages = json_shortages();
	failed = store_read(store, find_read, &result, error) || check(&result, error) ||
		 store_write(store, accept, &result, error);

	heard_at_work(engine, site, task);
	result_free(&result);
	return failed ? -1 : 0;
}
