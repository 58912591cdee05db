/*
 * A job as MLflow sees it, over its REST API (2.0): a run for the model of all, below it one for each site. Runs are found
 * again by their tags, and only what is new is sent: exporting a running job now and then is cheap.
 *
 * As MLflow's own clients do, MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, are taken
 * from the environment, and MLFLOW_TRACKING_SERVER_CERT_PATH names the authorities to trust.
 */
#include "client/cli/history.h"

#include "client/transfer.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One batch of MLflow holds so many metrics and parameters, and so much of a parameter: a longer one is left out; job.json has it. */
enum { METRICS_LIMIT = 1000, SETTINGS_LIMIT = 100, SETTING_SIZE = 6000 };
enum { CALL_SECONDS = 60 };

struct mlflow {
	const struct history *history;
	struct connection *connection;
	const char *experiment; /* its id */
	const json_t *known;    /* the runs that are there already */
};

static int post(struct mlflow *mlflow, const char *what, json_t *body, json_t **answer, struct rounds_error *error)
{
	json_auto_t *owned = body;
	json_auto_t *ignored = NULL;
	char path[100];

	if (!owned)
		return error_no_memory(error);
	snprintf(path, sizeof(path), "/api/2.0/mlflow/%s", what);
	if (connection_call(mlflow->connection, "POST", path, owned, CALL_SECONDS, answer ? answer : &ignored, error))
		return error_prefix(error, "MLflow, %s", what);
	return 0;
}

static int connect_to(const char *url, struct connection **connection, struct rounds_error *error)
{
	struct connection_options options = {
		.url = url,
		.ca_file = getenv("MLFLOW_TRACKING_SERVER_CERT_PATH"),
		.token = getenv("MLFLOW_TRACKING_TOKEN"),
		.user = getenv("MLFLOW_TRACKING_USERNAME"),
		.password = getenv("MLFLOW_TRACKING_PASSWORD"),
		.plain = true,
	};

	if (strchr(url, '@'))
		return error_set(error, ERROR_INVALID,
			"a password does not belong on a command line: set MLFLOW_TRACKING_USERNAME and "
			"MLFLOW_TRACKING_PASSWORD");
	return connection_new(&options, connection, error);
}

static int find_experiment(struct mlflow *mlflow, const char *name, json_t **answer, struct rounds_error *error)
{
	scoped(text_free) char *escaped = text_percent(name);
	scoped(text_free) char *path =
		escaped ? text_new("/api/2.0/mlflow/experiments/get-by-name?experiment_name=%s", escaped) : NULL;
	json_auto_t *found = NULL;

	if (!path)
		return error_no_memory(error);
	if (!connection_call(mlflow->connection, "GET", path, NULL, CALL_SECONDS, &found, error)) {
		const json_t *experiment = json_object_get(found, "experiment");

		if (strcmp(json_text_or(experiment, "lifecycle_stage", "active"), "active") != 0)
			return error_set(error, ERROR_CONFLICT,
				"MLflow's experiment \"%.100s\" was deleted: restore it there, or name another with "
				"--experiment",
				name);
		*answer = json_pack("{s:O}", "experiment_id", json_object_get(experiment, "experiment_id"));
		return *answer ? 0 : error_set(error, ERROR_INTERNAL, "this does not answer as MLflow does");
	}
	if (connection_status(mlflow->connection) != 404)
		return -1;
	return post(mlflow, "experiments/create", json_pack("{s:s}", "name", name), answer, error);
}

static int find_runs(struct mlflow *mlflow, json_t **answer, struct rounds_error *error)
{
	scoped(text_free) char *filter = text_new("tags.`rounds.job` = '%s'", mlflow->history->id);

	if (!filter)
		return error_no_memory(error);
	return post(mlflow, "runs/search",
		json_pack("{s:[s], s:s, s:i}", "experiment_ids", mlflow->experiment, "filter", filter, "max_results",
			1000),
		answer, error);
}

/* {"key": value} of a run's tags or metrics, which come as [{"key", "value", ...}]. */
static const json_t *keyed(const json_t *run, const char *kind, const char *key)
{
	size_t i;
	json_t *one;

	json_array_foreach (json_object_get(json_object_get(run, "data"), kind), i, one)
		if (!strcmp(json_text_or(one, "key", ""), key))
			return one;
	return NULL;
}

static json_t *tag(const char *key, const char *value)
{
	return json_pack("{s:s, s:s}", "key", key, "value", value);
}

static int64_t milliseconds(int64_t us)
{
	return us / 1000;
}

/* The run of a site ("": of all), made if it is not there. A new reference. */
static int have_run(
	struct mlflow *mlflow, const char *site, const char *parent, json_t **run, struct rounds_error *error)
{
	const json_t *job = mlflow->history->job;
	json_auto_t *tags = NULL;
	json_auto_t *answer = NULL;
	size_t i;
	json_t *known;

	json_array_foreach (mlflow->known, i, known)
		if (!strcmp(json_text_or(keyed(known, "tags", "rounds.site"), "value", ""), site)) {
			*run = json_incref(known);
			return 0;
		}
	tags = json_pack("[o, o, o, o]", tag("rounds.job", mlflow->history->id), tag("rounds.site", site),
		tag("rounds.workflow", json_text_or(job, "workflow", "")), tag("mlflow.source.name", "rounds"));
	if (parent)
		json_array_append_new(tags, tag("mlflow.parentRunId", parent));
	if (post(mlflow, "runs/create",
		    json_pack("{s:s, s:s, s:I, s:O}", "experiment_id", mlflow->experiment, "run_name",
			    *site ? site : json_text_or(job, "name", ""), "start_time",
			    (json_int_t)milliseconds(history_begin_us(mlflow->history)), "tags", tags),
		    &answer, error))
		return -1;
	*run = json_incref(json_object_get(answer, "run"));
	return *run ? 0 : error_set(error, ERROR_INTERNAL, "this does not answer as MLflow does");
}

static const char *id_of(const json_t *run)
{
	return json_text_or(json_object_get(run, "info"), "run_id", "");
}

/* What MLflow allows in a key. */
static void make_key(const char *name, char key[250])
{
	snprintf(key, 250, "%s", name);
	for (char *c = key; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. /:", *c))
			*c = '_';
}

static int send_batch(
	struct mlflow *mlflow, const json_t *run, const char *kind, json_t *batch, struct rounds_error *error)
{
	if (json_array_size(batch) > 0 &&
		post(mlflow, "runs/log-batch", json_pack("{s:s, s:O}", "run_id", id_of(run), kind, batch), NULL,
			error))
		return -1;
	json_array_clear(batch);
	return 0;
}

/* A value that is missing is not sent. */
static int send_curves(struct mlflow *mlflow, const json_t *run, const char *site, struct rounds_error *error)
{
	json_auto_t *batch = json_array();
	const json_t *curve;
	size_t at = 0, i;
	json_t *round;

	while ((curve = history_curve(mlflow->history, site, &at))) {
		char key[250];
		int64_t sent;

		make_key(json_text_or(curve, "name", ""), key);
		sent = json_integer_or(keyed(run, "metrics", key), "step", -1);
		json_array_foreach (json_object_get(curve, "rounds"), i, round) {
			int64_t step = json_integer_value(round);
			double value = history_at(json_object_get(curve, "values"), i);

			if (step <= sent || !isfinite(value))
				continue;
			json_array_append_new(
				batch, json_pack("{s:s, s:f, s:I, s:I}", "key", key, "value", value, "timestamp",
					       (json_int_t)milliseconds(history_round_us(mlflow->history, step)),
					       "step", (json_int_t)step));
			if (json_array_size(batch) == METRICS_LIMIT &&
				send_batch(mlflow, run, "metrics", batch, error))
				return -1;
		}
	}
	return send_batch(mlflow, run, "metrics", batch, error);
}

static int send_settings(struct mlflow *mlflow, const json_t *run, struct rounds_error *error)
{
	json_auto_t *settings = history_settings(mlflow->history), *batch = json_array();
	const char *name;
	json_t *setting;

	json_object_foreach (settings, name, setting) {
		scoped(text_free) char *text = json_is_string(setting) ? strdup(json_string_value(setting))
								       : json_canonical(setting);
		char key[250];

		make_key(name, key);
		if (!text)
			return error_no_memory(error);
		if (strlen(text) > SETTING_SIZE || keyed(run, "params", key))
			continue;
		json_array_append_new(batch, tag(key, text));
		if (json_array_size(batch) == SETTINGS_LIMIT && send_batch(mlflow, run, "params", batch, error))
			return -1;
	}
	return send_batch(mlflow, run, "params", batch, error);
}

static int send_state(struct mlflow *mlflow, const json_t *run, struct rounds_error *error)
{
	static const char *const states[][2] = { { "completed", "FINISHED" }, { "failed", "FAILED" },
		{ "aborted", "KILLED" } };
	const json_t *job = mlflow->history->job;
	const char *status = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (!strcmp(json_text_or(job, "state", ""), states[i][0]))
			status = states[i][1];
	if (!status)
		return 0;
	return post(mlflow, "runs/update",
		json_pack("{s:s, s:s, s:I}", "run_id", id_of(run), "status", status, "end_time",
			(json_int_t)milliseconds(time_parse(json_text_or(job, "finished", "")))),
		NULL, error);
}

static int send_file(
	struct mlflow *mlflow, const json_t *run, const char *path, const char *name, struct rounds_error *error)
{
	static const char scheme[] = "mlflow-artifacts:/";
	const char *root = json_text_or(json_object_get(run, "info"), "artifact_uri", "");
	scoped(text_free) char *to = text_new(
		"/api/2.0/mlflow-artifacts/artifacts/%s/%s", root + strlen(scheme), name);
	scoped(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;

	if (!to)
		return error_no_memory(error);
	if (fd < 0 || fstat(fd, &status))
		return error_errno(error, "cannot open %s", path);
	if (connection_header(mlflow->connection, "Content-Type: application/octet-stream", error) ||
		connection_upload(mlflow->connection, "PUT", to, fd, 0, (uint64_t)status.st_size, NULL, NULL, error))
		return error_prefix(error, "MLflow, artifact %s", name);
	return 0;
}

/* `which` is the job's member that names the model; a tag says what is there already. */
static int send_model(
	struct mlflow *mlflow, const json_t *run, const char *which, const char *folder, struct rounds_error *error)
{
	const char *text = json_text_or(mlflow->history->job, which, NULL);
	scoped(text_free) char *path = text_new("%s/%s", folder, which);
	scoped(text_free) char *name = text_new("models/%s.safetensors", which);
	scoped(text_free) char *mark = text_new("rounds.%s", which);
	struct transfer_options options = { 0 };
	struct digest digest;

	if (!path || !name || !mark)
		return error_no_memory(error);
	if (!text || !digest_parse(text, &digest) ||
		!strcmp(json_text_or(keyed(run, "tags", mark), "value", ""), text))
		return 0;
	for (int tries = 0; transfer_download(mlflow->history->cli->connection, &digest, path, &options, error);
		tries++)
		if (error->kind != ERROR_UNAVAILABLE || tries == 10)
			return error->kind == ERROR_FORBIDDEN ? 0 : -1; /* a viewer sees metrics, not weights */
	if (send_file(mlflow, run, path, name, error))
		return -1;
	return post(mlflow, "runs/set-tag",
		json_pack("{s:s, s:s, s:s}", "run_id", id_of(run), "key", mark, "value", text), NULL, error);
}

static int send_artifacts_from(
	struct mlflow *mlflow, const json_t *run, const char *folder, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/job.json", folder);
	scoped(text_free) char *spec = json_dumps(
		json_object_get(mlflow->history->job, "spec"), JSON_INDENT(2) | JSON_REAL_PRECISION(15));

	if (!path || !spec)
		return error_no_memory(error);
	return file_put(path, spec, strlen(spec), 0600, error) || send_file(mlflow, run, path, "job.json", error) ||
			       send_model(mlflow, run, "model", folder, error) ||
			       send_model(mlflow, run, "best", folder, error)
		       ? -1
		       : 0;
}

static int send_artifacts(struct mlflow *mlflow, const json_t *run, struct rounds_error *error)
{
	const char *root = json_text_or(json_object_get(run, "info"), "artifact_uri", "");
	const char *temporary = getenv("TMPDIR");
	scoped(text_free) char *folder = text_new("%s/rounds-XXXXXX", temporary ? temporary : "/tmp");
	int failed;

	if (strncmp(root, "mlflow-artifacts:/", 18) != 0) {
		fprintf(stderr,
			"rounds: the models stay here, since MLflow keeps its artifacts elsewhere (%.100s); start "
			"it with --serve-artifacts\n",
			root);
		return 0;
	}
	if (!folder)
		return error_no_memory(error);
	if (!mkdtemp(folder))
		return error_errno(error, "cannot make a folder in %s", temporary ? temporary : "/tmp");
	failed = send_artifacts_from(mlflow, run, folder, error);
	directory_remove(folder);
	return failed;
}

static int send_run(
	struct mlflow *mlflow, const char *site, const char *parent, json_t **run, struct rounds_error *error)
{
	return have_run(mlflow, site, parent, run, error) || send_curves(mlflow, *run, site, error) ||
			       (!*site &&
				       (send_settings(mlflow, *run, error) || send_artifacts(mlflow, *run, error))) ||
			       send_state(mlflow, *run, error)
		       ? -1
		       : 0;
}

static int send_runs(struct mlflow *mlflow, struct rounds_error *error)
{
	json_auto_t *whole = NULL;
	size_t i;
	json_t *site;

	if (send_run(mlflow, "", NULL, &whole, error))
		return -1;
	json_array_foreach (json_object_get(mlflow->history->timeline, "sites"), i, site) {
		json_auto_t *run = NULL;

		if (send_run(mlflow, json_string_value(site), id_of(whole), &run, error))
			return -1;
	}
	if (!mlflow->history->cli->json)
		printf("Sent to MLflow: experiment %s, run %s.\n", mlflow->experiment, id_of(whole));
	return 0;
}

int send_mlflow(const struct history *history, const char *url, const char *experiment, struct rounds_error *error)
{
	scoped(connection_free) struct connection *connection = NULL;
	struct mlflow mlflow = { .history = history };
	json_auto_t *found = NULL, *runs = NULL;

	if (connect_to(url, &connection, error))
		return -1;
	mlflow.connection = connection;
	if (find_experiment(&mlflow, experiment, &found, error))
		return -1;
	mlflow.experiment = json_text_or(found, "experiment_id", "");
	if (find_runs(&mlflow, &runs, error))
		return -1;
	mlflow.known = json_object_get(runs, "runs");
	return send_runs(&mlflow, error);
}
