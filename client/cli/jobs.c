#include "client/cli/cli.h"

#include "client/transfer.h"
#include "common/file.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/tensors.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const struct field submit_flags[] = {
	{ "watch", FIELD_BOOL, "Follow it to its end", .fallback = "false" },
	{ "initial_model", FIELD_TEXT, "A safetensors file to upload and begin with", .min = 1, .max = 4096 },
	{ "name", FIELD_TEXT, "Another name than the file's", .min = 1, .max = 200 },
	{ NULL },
};

const struct field clone_flags[] = {
	{ "watch", FIELD_BOOL, "Follow it to its end", .fallback = "false" },
	{ "name", FIELD_TEXT, "Another name", .min = 1, .max = 200 },
	{ NULL },
};

const struct field list_flags[] = {
	{ "state", FIELD_TEXT, "Only those in this state", .min = 1, .max = 20 },
	{ "limit", FIELD_INTEGER, "How many", .fallback = "20", .min = 1, .max = 1000 },
	{ NULL },
};

const struct field download_flags[] = {
	{ "to", FIELD_TEXT, "Where to write it", .fallback = "\"model.safetensors\"", .min = 1, .max = 4096 },
	{ "round", FIELD_INTEGER, "The model of this round", .min = 0, .max = 1e9 },
	{ "best", FIELD_BOOL, "The best model by the job's key metric, not the last", .fallback = "false" },
	{ NULL },
};

/* Uploads the file and puts its digest into the job. */
static int add_initial_model(struct cli *cli, json_t *spec, const char *path, struct rounds_error *error)
{
	scoped(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct transfer_options options = { 0 };
	char upload[UPLOAD_PATH_SIZE] = "", text[DIGEST_TEXT_SIZE];
	struct digest digest;
	struct stat status;

	if (fd < 0 || fstat(fd, &status))
		return error_errno(error, "cannot open %s", path);
	if (digest_file(fd, (uint64_t)status.st_size, &digest, error))
		return -1;
	for (int tries = 0; transfer_upload(cli->connection, path, &digest, upload, &options, error); tries++)
		if (error->kind != ERROR_UNAVAILABLE || tries == 10)
			return -1;
	digest_format(&digest, text);
	json_object_set_new(spec, "initial_model", json_string(text));
	return 0;
}

/* Submits under a key of its own, so that a try whose answer is lost can be repeated without a second job. */
static int submit(struct cli *cli, const json_t *spec, struct rounds_error *error)
{
	json_auto_t *job = NULL;
	char key[33], line[80];

	hex_random(world_real(), 16, key);
	snprintf(line, sizeof(line), "Idempotency-Key: %s", key);
	for (int tries = 0;; tries++) {
		if (connection_header(cli->connection, line, error))
			return -1;
		if (!cli_post(cli, "/api/v1/jobs", spec, &job, error))
			break;
		if (error->kind != ERROR_UNAVAILABLE || tries == 3)
			return -1;
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	}
	print_warnings(stderr, json_object_get(job, "warnings"));
	if (cli->json)
		print_json(job);
	else
		printf("%s\n", json_text_or(job, "id", ""));
	fflush(stdout);
	if (!json_bool_or(cli->options, "watch", false))
		return EXIT_DONE;
	return watch(cli, json_text_or(job, "id", ""), error);
}

int job_submit(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *spec = NULL;
	const char *model = json_text_or(cli->options, "initial_model", NULL);
	const char *name = json_text_or(cli->options, "name", NULL);

	if (json_parse_file(cli_word(cli, 0), &spec, error))
		return -1;
	if (!json_is_object(spec))
		return error_set(error, ERROR_INVALID, "%s must hold a JSON object", cli_word(cli, 0));
	if (name)
		json_object_set_new(spec, "name", json_string(name));
	if (model && add_initial_model(cli, spec, model, error))
		return -1;
	return submit(cli, spec, error);
}

static int get_job(struct cli *cli, char id[40], json_t **job, struct rounds_error *error)
{
	char path[80];

	if (cli_job_id(cli, cli_word(cli, 0), id, error))
		return -1;
	snprintf(path, sizeof(path), "/api/v1/jobs/%s", id);
	return cli_get(cli, path, job, error);
}

int job_clone(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *job = NULL;
	json_t *spec;
	const char *name = json_text_or(cli->options, "name", NULL);
	char id[40];

	if (get_job(cli, id, &job, error))
		return -1;
	spec = json_object_get(job, "spec");
	if (name)
		json_object_set_new(spec, "name", json_string(name));
	return submit(cli, spec, error);
}

static void add_progress(json_t *jobs)
{
	size_t i;
	json_t *job;

	json_array_foreach (jobs, i, job)
		json_object_set_new(job, "progress",
			json_sprintf("%lld/%lld", (long long)json_integer_or(job, "round", 0),
				(long long)json_integer_or(job, "rounds", 0)));
}

int job_list(struct cli *cli, struct rounds_error *error)
{
	static const struct column columns[] = { { "JOB", "id" }, { "NAME", "name" }, { "WORKFLOW", "workflow" },
		{ "STATE", "state" }, { "ROUND", "progress" }, { "SUBMITTED", "created" }, { "REASON", "reason" },
		{ NULL, NULL } };
	json_auto_t *answer = NULL;
	const char *state = json_text_or(cli->options, "state", NULL);
	char path[120];

	if (state && strspn(state, "abcdefghijklmnopqrstuvwxyz") != strlen(state))
		return error_field(error, "--state",
			"must be one of submitted, queued, running, paused, completed, failed, aborted");
	snprintf(path, sizeof(path), "/api/v1/jobs?limit=%lld%s%s",
		(long long)json_integer_or(cli->options, "limit", 20), state ? "&state=" : "", state ? state : "");
	if (cli_get(cli, path, &answer, error))
		return -1;
	if (cli->json) {
		print_json(json_object_get(answer, "items"));
		return EXIT_DONE;
	}
	add_progress(json_object_get(answer, "items"));
	print_table(json_object_get(answer, "items"), columns);
	return EXIT_DONE;
}

/* Whom it waits for, if it does. */
static int print_waiting(struct cli *cli, const char *id, struct rounds_error *error)
{
	static const struct column columns[] = { { "WAITS FOR", "site" }, { "WHICH IS", "state" },
		{ "SINCE", "since" }, { NULL, NULL } };
	json_auto_t *waiting = NULL;
	char path[80];

	snprintf(path, sizeof(path), "/api/v1/jobs/%s/waiting", id);
	if (cli_get(cli, path, &waiting, error))
		return -1;
	if (json_array_size(json_object_get(waiting, "sites")))
		print_table(json_object_get(waiting, "sites"), columns);
	return 0;
}

/* "age, sex"; what is agreed on and not told has a digest. */
static json_t *in_words(const json_t *names)
{
	json_t *words = json_is_string(names) ? json_text(json_string_value(names)) : json_string(""), *name, *longer;
	size_t i;

	json_array_foreach (names, i, name) {
		longer = json_sprintf("%s%s%s", json_string_value(words), i ? ", " : "", json_string_value(name));
		json_decref(words);
		words = longer;
	}
	return words;
}

/* Lists of names become words. */
static void put_in_words(json_t *rows, const char *const members[])
{
	size_t i;
	json_t *row;

	json_array_foreach (rows, i, row)
		for (const char *const *member = members; *member; member++)
			json_object_set_new(row, *member, in_words(json_object_get(row, *member)));
}

/* What its sites agreed on, and who differs. */
static void print_schema(json_t *answer)
{
	static const struct column agreed[] = { { "schema", "digest" }, { "made by", "made_by" },
		{ "features", "features" }, { "label", "label" }, { "classes", "classes" }, { NULL, NULL } };
	static const struct column differing[] = { { "DIFFERS", "site" }, { "ROUND", "round" }, { "SINCE", "since" },
		{ "IN", "role" }, { "COLUMN", "column" }, { "THE MODEL HAS", "expected" }, { "THE SITE", "found" },
		{ "WHAT", "what" }, { "ITS LOG", "ref" }, { NULL, NULL } };
	static const struct column lacking[] = { { "HAS NONE OF", "site" }, { "TRAINER.IGNORE", "ignore" },
		{ "TRAINER.CATEGORIES", "categories" }, { NULL, NULL } };
	json_t *schema = json_object_get(answer, "schema");
	json_t *differs = json_object_get(answer, "differs"), *lacks = json_object_get(answer, "lacks");

	if (json_is_string(json_object_get(schema, "digest"))) {
		json_object_set(schema, "made_by", json_object_get(answer, "made_by"));
		json_object_set_new(schema, "features", in_words(json_object_get(schema, "features")));
		json_object_set_new(schema, "classes", in_words(json_object_get(schema, "classes")));
		print_object(schema, agreed);
	}
	put_in_words(differs, (const char *const[]){ "expected", NULL });
	put_in_words(lacks, (const char *const[]){ "ignore", "categories", NULL });
	if (json_array_size(differs))
		print_table(differs, differing);
	if (json_array_size(lacks))
		print_table(lacks, lacking);
}

int job_show(struct cli *cli, struct rounds_error *error)
{
	static const struct column fields[] = { { "job", "id" }, { "name", "name" }, { "workflow", "workflow" },
		{ "state", "state" }, { "reason", "reason" }, { "round", "progress" }, { "priority", "priority" },
		{ "submitted", "created" }, { "by", "submitted_by" }, { "started", "started" },
		{ "finished", "finished" }, { "model", "model" }, { "best model", "best" },
		{ "best round", "best_round" }, { NULL, NULL } };
	json_auto_t *job = NULL, *list = json_array(), *schema = NULL;
	char id[40], path[80];

	if (get_job(cli, id, &job, error))
		return -1;
	snprintf(path, sizeof(path), "/api/v1/jobs/%s/schema", id);
	if (cli_get(cli, path, &schema, error))
		return -1;
	if (cli->json) {
		json_object_set(job, "schema", schema);
		print_json(job);
		return EXIT_DONE;
	}
	json_array_append(list, job);
	add_progress(list);
	print_object(job, fields);
	print_schema(schema);
	if (print_waiting(cli, id, error))
		return -1;
	printf("spec           ");
	print_json(json_object_get(job, "spec"));
	return EXIT_DONE;
}

int job_watch(struct cli *cli, struct rounds_error *error)
{
	char id[40];

	return cli_job_id(cli, cli_word(cli, 0), id, error) ? -1 : watch(cli, id, error);
}

int job_events(struct cli *cli, struct rounds_error *error)
{
	static const struct column columns[] = { { "TIME", "time" }, { "ROUND", "round" }, { "SITE", "site" },
		{ "WHAT", "message" }, { NULL, NULL } };
	json_auto_t *all = json_array();
	char id[40], path[120];
	int64_t cursor = 0;

	if (cli_job_id(cli, cli_word(cli, 0), id, error))
		return -1;
	for (;;) {
		json_auto_t *answer = NULL;

		snprintf(path, sizeof(path), "/api/v1/jobs/%s/events?limit=1000&cursor=%lld", id, (long long)cursor);
		if (cli_get(cli, path, &answer, error))
			return -1;
		if (json_array_size(json_object_get(answer, "items")) == 0)
			break;
		json_array_extend(all, json_object_get(answer, "items"));
		cursor = json_integer_or(answer, "next", cursor);
	}
	return show_table(cli, all, columns);
}

static int command(
	struct cli *cli, const char *method, const char *what, const json_t *body, struct rounds_error *error)
{
	json_auto_t *answer = NULL;
	char id[40], path[120];

	if (cli_job_id(cli, cli_word(cli, 0), id, error))
		return -1;
	snprintf(path, sizeof(path), "/api/v1/jobs/%s%s", id, what);
	if (connection_call(cli->connection, method, path, body, 30, &answer, error))
		return -1;
	if (cli->json && answer)
		print_json(answer);
	else if (answer)
		printf("%s is %s\n", id, json_text_or(answer, "state", ""));
	return EXIT_DONE;
}

int job_pause(struct cli *cli, struct rounds_error *error)
{
	return command(cli, "POST", "/pause", NULL, error);
}

int job_resume(struct cli *cli, struct rounds_error *error)
{
	return command(cli, "POST", "/resume", NULL, error);
}

int job_skip(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *body = json_pack("{s:o}", "site", json_text(cli_word(cli, 1)));

	return command(cli, "POST", "/skip", body, error);
}

int job_abort(struct cli *cli, struct rounds_error *error)
{
	return command(cli, "POST", "/abort", NULL, error);
}

int job_delete(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL;
	char id[40], path[120];
	size_t i;
	json_t *remains;

	if (cli_job_id(cli, cli_word(cli, 0), id, error) ||
		cli_confirm(cli, error, "Delete the job %s, with its models and events?", id))
		return -1;
	snprintf(path, sizeof(path), "/api/v1/jobs/%s", id);
	if (connection_call(cli->connection, "DELETE", path, NULL, 60, &answer, error))
		return -1;
	if (cli->json) {
		print_json(answer);
		return EXIT_DONE;
	}
	puts(json_bool_or(answer, "gone", true)
			? "Deleted: its rows are overwritten, and weights that no other job uses are gone."
			: "Deleted. Its rows and weights leave the disk within the next minutes: a backup is being made.");
	puts("What remains:");
	json_array_foreach (json_object_get(answer, "remains"), i, remains)
		printf("  - %s\n", json_string_value(remains));
	return EXIT_DONE;
}

/* The digest that the options mean: of a round, the best or the last. */
static int choose_model(
	struct cli *cli, const char *id, const json_t *job, struct digest *digest, struct rounds_error *error)
{
	const json_t *round = json_object_get(cli->options, "round");
	const char *text = json_text_or(job, json_bool_or(cli->options, "best", false) ? "best" : "model", NULL);
	json_auto_t *answer = NULL;
	char path[80];
	size_t i;
	json_t *item;

	if (round && json_bool_or(cli->options, "best", false))
		return error_field(error, "--best", "does nothing with --round: say one of them");
	if (round) {
		snprintf(path, sizeof(path), "/api/v1/jobs/%s/models", id);
		if (cli_get(cli, path, &answer, error))
			return -1;
		text = NULL;
		json_array_foreach (json_object_get(answer, "items"), i, item)
			if (json_equal(json_object_get(item, "round"), round))
				text = json_text_or(item, "digest", NULL);
	}
	if (text && digest_parse(text, digest))
		return 0;
	return error_set(error, ERROR_NOT_FOUND,
		round ? "the model of that round is not kept" : "the job has no such model (yet)");
}

/* A booster travels inside a safetensors file; XGBoost opens the JSON alone. */
static int unpack_booster(const char *path, struct rounds_error *error)
{
	scoped(tensor_file_close) struct tensor_file file = { 0 };
	const struct tensor *tensor;

	if (tensor_file_open(path, &file, error))
		return -1;
	tensor = tensors_find(file.tensors, "booster");
	if (!tensor)
		return error_set(error, ERROR_INVALID,
			"%s is a safetensors file, since the model is no booster: give it a name that does not end in .json",
			path);
	return file_put(path, file.view.bytes + tensor->offset, (size_t)tensor->size, 0644, error);
}

int job_download(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *job = NULL;
	struct transfer_options options = { 0 };
	const char *to = json_text_or(cli->options, "to", "model.safetensors");
	struct digest digest;
	char id[40];

	if (get_job(cli, id, &job, error) || choose_model(cli, id, job, &digest, error))
		return -1;
	for (int tries = 0; transfer_download(cli->connection, &digest, to, &options, error); tries++)
		if (error->kind != ERROR_UNAVAILABLE || tries == 10)
			return -1;
	if (strlen(to) > 5 && !strcmp(to + strlen(to) - 5, ".json") && unpack_booster(to, error))
		return -1;
	if (!cli->json)
		printf("%s\n", to);
	return EXIT_DONE;
}

static void print_report(const json_t *report)
{
	static const struct column columns[] = { { "ROUND", "round" }, { "GOOD", "good" }, { "INPUTS", "inputs" },
		{ "RECOMPUTED", "recomputed" }, { "MODEL KEPT", "model_kept" }, { "MODEL", "model" },
		{ "FAULT", "fault" }, { NULL, NULL } };

	print_table(json_object_get(report, "rounds"), columns);
	puts(json_bool_or(report, "good", false) ? "The lineage is sound." : "THE LINEAGE IS BROKEN.");
}

int verify(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *asked = NULL, *answer = NULL;
	const json_t *report;
	char id[40], path[160];

	if (cli_job_id(cli, cli_word(cli, 0), id, error))
		return -1;
	snprintf(path, sizeof(path), "/api/v1/jobs/%s/verifications", id);
	if (cli_post(cli, path, NULL, &asked, error))
		return -1;
	snprintf(path, sizeof(path), "/api/v1/jobs/%s/verifications/%s", id, json_text_or(asked, "id", ""));
	do {
		json_decref(answer);
		answer = NULL;
		nanosleep(&(struct timespec){ .tv_nsec = 200 * 1000 * 1000 }, NULL);
		if (cli_get(cli, path, &answer, error))
			return -1;
	} while (!strcmp(json_text_or(answer, "state", ""), "running"));
	report = json_object_get(answer, "report");
	if (cli->json)
		print_json(report);
	else
		print_report(report);
	return json_bool_or(report, "good", false) ? EXIT_DONE : EXIT_JOB_FAILED;
}
