#include "server/routes/app.h"

#include "common/artifact.h"
#include "common/fields.h"
#include "common/json.h"
#include "server/store/blob_index.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <stdio.h>
#include <string.h>

enum { PAGE = 50, PAGE_LIMIT = 1000, WAIT_LIMIT = 60 };

/* What a query needs; each function below fills what its read uses. */
struct query {
	const char *job, *id, *name, *site;
	struct job_filter filter;
	int64_t after, limit, version, priority;
	json_t *rows;
};

/* Takes the row. */
static enum outcome reply_job(struct request *request, int status, json_t *job)
{
	reply_header(request, "ETag", "\"%lld\"", (long long)json_integer_or(job, "version", 0));
	json_object_del(job, "paused_at"); /* on the engine's clock */
	return reply_json(request, status, job);
}

/* A spec names what no path does: its project, and the model to begin with. */
static int check_spec(struct request *request, struct app *app, const json_t *spec, struct rounds_error *error)
{
	const struct caller *caller = request_caller(request);
	const char *model = json_text_or(spec, "initial_model", NULL);

	if (!scope_holds(caller->scope, json_text_or(spec, "project", "default")))
		return error_field(error, "project", "there is no such project");
	if (model && object_check(app, caller, "digest", model, error))
		return error->kind == ERROR_NOT_FOUND
			       ? error_field(error, "initial_model", "has not been uploaded to this server")
			       : -1;
	return 0;
}

enum outcome job_submit(struct request *request, void *context)
{
	struct app *app = context;
	json_auto_t *spec = NULL, *faults = json_array();
	json_t *job = NULL;
	struct rounds_error error = { 0 };
	const char *key = request_header(request, "Idempotency-Key");
	struct submission submission = {
		.caller = request_caller(request)->name,
		.key = key,
		.traceparent = request_header(request, "traceparent"),
	};

	if (key && (strlen(key) < 1 || strlen(key) > 200)) {
		error_set(&error, ERROR_INVALID, "Idempotency-Key must have 1 to 200 characters");
		return reply_error(request, &error);
	}
	if (request_json(request, &spec, &error) || check_spec(request, app, spec, &error))
		return reply_error(request, &error);
	submission.spec = spec;
	if (engine_submit(app->engine, &submission, &job, faults, &error))
		return json_array_size(faults) ? reply_faults(request, faults, &error) : reply_error(request, &error);
	reply_header(request, "Location", "/api/v1/jobs/%s", json_text_or(job, "id", ""));
	return reply_job(request, 201, job);
}

enum outcome job_check_only(struct request *request, void *context)
{
	struct app *app = context;
	json_auto_t *spec = NULL;
	json_t *report = NULL;
	struct rounds_error error = { 0 };

	if (request_json(request, &spec, &error) || check_spec(request, app, spec, &error) ||
		engine_check_job(app->engine, spec, &report, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, report);
}

static int read_jobs(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return job_list(tx, &query->filter, &query->rows, error);
}

/* {"items": [...], "next": cursor or null}; takes the rows. */
static enum outcome reply_page(struct request *request, json_t *rows, int64_t limit, const char *key)
{
	size_t count = json_array_size(rows);
	json_t *next = NULL;

	if ((int64_t)count > limit - 1 && count > 0)
		next = json_object_get(json_array_get(rows, count - 1), key);
	return reply_json(request, 200, json_pack("{s:o, s:O?}", "items", rows, "next", next));
}

enum outcome job_list_page(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct query query = { .filter = {
				       .scope = request_caller(request)->scope,
				       .state = request_query(request, "state"),
				       .project = request_query(request, "project"),
				       .site = request_query(request, "site"),
				       .text = request_query(request, "q"),
				       .sort = request_query(request, "sort"),
				       .after = request_query(request, "cursor"),
				       .limit = PAGE,
			       } };

	if (request_query_integer(request, "limit", 1, PAGE_LIMIT, &query.filter.limit, &error) ||
		store_read(app->store, read_jobs, &query, &error))
		return reply_error(request, &error);
	return reply_page(request, query.rows, query.filter.limit, "id");
}

static int read_job(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return job_find(tx, query->job, &query->rows, error);
}

enum outcome job_show(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct query query = { .job = request_parameter(request, "job") };

	if (store_read(app->store, read_job, &query, &error))
		return reply_error(request, &error);
	return reply_job(request, 200, query.rows);
}

static int edit_job(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return job_edit(tx, query->job, query->version, query->name, query->priority, error) ||
			       job_find(tx, query->job, &query->rows, error)
		       ? -1
		       : 0;
}

static const struct field edit_fields[] = {
	{ "name", FIELD_TEXT, "What people call the job", .min = 1, .max = 200 },
	{ "priority", FIELD_INTEGER, "Jobs of higher priority start first", .min = -100, .max = 100 },
	{ NULL },
};

static int parse_version(const char *match, int64_t *version, struct rounds_error *error)
{
	long long number;

	*version = -1;
	if (!match || !strcmp(match, "*"))
		return 0;
	if (sscanf(match, "\"%lld\"", &number) != 1)
		return error_set(error, ERROR_PRECONDITION, "If-Match must be an ETag of this job");
	*version = number;
	return 0;
}

enum outcome job_edit_one(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct query query = { .job = request_parameter(request, "job") };
	json_auto_t *body = NULL, *job = NULL, *changes = NULL, *faults = json_array();

	if (request_json(request, &body, &error) ||
		parse_version(request_header(request, "If-Match"), &query.version, &error) ||
		store_read(app->store, read_job, &query, &error))
		return reply_error(request, &error);
	job = query.rows;
	changes = fields_apply(edit_fields, body, "", faults);
	if (!changes) {
		fields_error(faults, &error);
		return reply_faults(request, faults, &error);
	}
	query.name = json_text_or(changes, "name", json_text_or(job, "name", ""));
	query.priority = json_integer_or(changes, "priority", json_integer_or(job, "priority", 0));
	if (store_write(app->store, edit_job, &query, &error))
		return reply_error(request, &error);
	return reply_job(request, 200, query.rows);
}

static enum outcome order(struct request *request, struct app *app, enum job_command command)
{
	struct rounds_error error = { 0 };
	struct query query = { .job = request_parameter(request, "job") };

	if (engine_command(app->engine, query.job, command, request_caller(request)->name, &error))
		return reply_error(request, &error);
	return job_show(request, app);
}

enum outcome job_delete_one(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	bool is_gone;

	if (engine_delete(app->engine, request_parameter(request, "job"), &is_gone, &error))
		return reply_error(request, &error);
	return reply_json(request, 200,
		json_pack("{s:b, s:[s,s,s]}", "gone", is_gone, "remains",
			"backups of this server that were made before; delete them, or let them expire",
			"models that sites and people have downloaded",
			"in the audit log: that the job was, and who did what with it, without its data"));
}

enum outcome job_pause(struct request *request, void *context)
{
	return order(request, context, COMMAND_PAUSE);
}

enum outcome job_resume(struct request *request, void *context)
{
	return order(request, context, COMMAND_RESUME);
}

enum outcome job_abort(struct request *request, void *context)
{
	return order(request, context, COMMAND_ABORT);
}

enum outcome job_waiting(struct request *request, void *context)
{
	struct app *app = context;
	json_t *waiting = NULL;
	struct rounds_error error = { 0 };

	if (engine_waiting(app->engine, request_parameter(request, "job"), &waiting, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, waiting);
}

enum outcome job_schema(struct request *request, void *context)
{
	struct app *app = context;
	json_t *answer = NULL;
	struct rounds_error error = { 0 };

	if (engine_schema(app->engine, request_parameter(request, "job"), &answer, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, answer);
}

static const struct field skip_fields[] = {
	{ "site", FIELD_NAME, "The site that the round is not to wait for", .required = true },
	{ NULL },
};

enum outcome job_skip(struct request *request, void *context)
{
	struct app *app = context;
	json_auto_t *body = NULL, *asked = NULL, *faults = json_array();
	struct rounds_error error = { 0 };

	if (request_json(request, &body, &error))
		return reply_error(request, &error);
	asked = fields_apply(skip_fields, body, "", faults);
	if (!asked) {
		fields_error(faults, &error);
		return reply_faults(request, faults, &error);
	}
	if (engine_skip(app->engine, request_parameter(request, "job"), json_text_or(asked, "site", ""),
		    request_caller(request)->name, &error))
		return reply_error(request, &error);
	return job_show(request, app);
}

static int read_rounds(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return job_exists(tx, query->job, error) ||
			       round_list(tx, query->job, query->after, query->limit, &query->rows, error)
		       ? -1
		       : 0;
}

enum outcome job_rounds(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct query query = { .job = request_parameter(request, "job"), .after = -1, .limit = PAGE };

	if (request_query_integer(request, "cursor", -1, INT64_MAX, &query.after, &error) ||
		request_query_integer(request, "limit", 1, PAGE_LIMIT, &query.limit, &error) ||
		store_read(app->store, read_rounds, &query, &error))
		return reply_error(request, &error);
	return reply_page(request, query.rows, query.limit, "number");
}

static int read_tasks(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return job_exists(tx, query->job, error) || task_list(tx, query->job, query->after, &query->rows, error) ? -1
														 : 0;
}

/* The files that tasks had before there could be others, by the names that they had then. */
static void name_usual_files(json_t *tasks)
{
	static const char *const names[][2] = { { "files", "model" }, { "files", "control" },
		{ "result_files", "update" } };
	size_t i;
	json_t *task;

	json_array_foreach (tasks, i, task)
		for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
			const char *digest = artifact_digest(json_object_get(task, names[j][0]), names[j][1]);

			json_object_set_new(task, names[j][1], digest ? json_string(digest) : json_null());
		}
}

enum outcome job_tasks(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct query query = { .job = request_parameter(request, "job"), .after = -1 };

	if (request_query_integer(request, "round", 0, INT64_MAX, &query.after, &error) ||
		store_read(app->store, read_tasks, &query, &error))
		return reply_error(request, &error);
	name_usual_files(query.rows);
	return reply_json(request, 200, json_pack("{s:o}", "items", query.rows));
}

static int read_events(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return job_exists(tx, query->job, error) ||
			       event_list(tx, query->job, query->after, query->limit, &query->rows, error)
		       ? -1
		       : 0;
}

static int read_exists(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return job_exists(tx, query->job, error);
}

static enum outcome job_stream(struct request *request, struct app *app, struct query *query)
{
	struct rounds_error error = { 0 };

	if (store_read(app->store, read_exists, query, &error))
		return reply_error(request, &error);
	return reply_live(request, app, query->job);
}

enum outcome job_events(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct query query = { .job = request_parameter(request, "job"), .limit = PAGE };
	int64_t wait = 0;
	bool in_time = false;
	char key[NOTICE_SIZE];

	if (wants_stream(request))
		return job_stream(request, app, &query);
	if (request_query_integer(request, "cursor", 0, INT64_MAX, &query.after, &error) ||
		request_query_integer(request, "limit", 1, PAGE_LIMIT, &query.limit, &error) ||
		request_query_integer(request, "wait", 0, WAIT_LIMIT, &wait, &error))
		return reply_error(request, &error);
	notice_key(TOPIC_JOB, query.job, key);
	if (wait > 0)
		in_time = request_wait(request, key, wait);
	if (store_read(app->store, read_events, &query, &error))
		return reply_error(request, &error);
	if (json_array_size(query.rows) == 0 && in_time) {
		json_decref(query.rows);
		return WAIT;
	}
	return reply_page(request, query.rows, 1, "id"); /* there is always a next: what will happen */
}

static int read_metrics(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return job_exists(tx, query->job, error) ||
			       metric_list(tx, query->job, query->name, query->site, &query->rows, error)
		       ? -1
		       : 0;
}

enum outcome job_metrics(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct query query = {
		.job = request_parameter(request, "job"),
		.name = request_query(request, "name"),
		.site = request_query(request, "site"),
	};

	if (store_read(app->store, read_metrics, &query, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, json_pack("{s:o}", "items", query.rows));
}

static int read_models(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return job_exists(tx, query->job, error) || blob_uses(tx, query->job, &query->rows, error) ? -1 : 0;
}

enum outcome job_models(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct query query = { .job = request_parameter(request, "job") };

	if (store_read(app->store, read_models, &query, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, json_pack("{s:o}", "items", query.rows));
}

enum outcome job_verify(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	const char *job = request_parameter(request, "job");
	char id[UUID_TEXT_SIZE];

	if (engine_verify(app->engine, job, id, &error))
		return reply_error(request, &error);
	reply_header(request, "Location", "/api/v1/jobs/%s/verifications/%s", job, id);
	return reply_json(request, 202, json_pack("{s:s, s:s}", "id", id, "state", "running"));
}

static int read_verification(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct query *query = argument;

	return verification_find(tx, query->job, query->id, &query->rows, error);
}

enum outcome job_verification(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct query query = {
		.job = request_parameter(request, "job"),
		.id = request_parameter(request, "verification"),
	};

	if (store_read(app->store, read_verification, &query, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, query.rows);
}
