/*
 * rounds-trainer: the built-in trainers, as an executor that rounds-site starts. It reads one task per line on its
 * standard input and writes progress and results as lines on its standard output; see client/README.md.
 */
#include "client/trainers/cox.h"
#include "client/trainers/describe.h"
#include "client/trainers/kmeans.h"
#include "client/trainers/schema.h"
#include "client/trainers/statistics.h"
#include "client/trainers/training.h"
#include "common/blas/one_thread.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/failure.h"
#include "common/json.h"
#include "common/program.h"

#include <stdio.h>
#include <string.h>

enum { PROTOCOL = 2, OLDEST_PROTOCOL = 1 };

/* The table of the last task, in the order of its model, which the next task of the same job most likely wants again. */
struct kept {
	json_t *description, *schema, *said; /* said: what the job says of columns */
	struct dataset *dataset;
};

static void forget(struct kept *kept)
{
	dataset_free(kept->dataset);
	json_decref(kept->description);
	json_decref(kept->schema);
	json_decref(kept->said);
	*kept = (struct kept){ 0 };
}

static void say(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

/*
 * Kind and place may leave the site, the message stays in its log. A daemon of version 1 would tell the message to the server:
 * it gets the sentence that anyone may read.
 */
static void say_error(const struct rounds_error *error, int64_t protocol)
{
	struct failure failure;
	char sentence[FAILURE_SENTENCE_SIZE];
	json_t *line;

	failure_of_error(error, &failure);
	failure_sentence(&failure, sentence, sizeof(sentence));
	if (protocol < 2) {
		say(json_pack("{s:s, s:s, s:b}", "type", "error", "message", sentence, "retry", failure.retry));
		return;
	}
	line = failure_json(&failure);
	json_object_set_new(line, "type", json_string("error"));
	json_object_set_new(line, "message", json_sprintf("%s: %s", sentence, error->message));
	say(line);
}

/* At most four times a second. */
static void say_progress(double fraction, double loss)
{
	static int64_t last;
	int64_t now = clock_steady_us();

	if (now - last < SECOND_US / 4)
		return;
	last = now;
	say(json_pack("{s:s, s:s, s:f, s:{s:o}}", "type", "progress", "stage", "training", "fraction", fraction,
		"metrics", "train_loss", json_number_or_null(loss)));
}

static bool is_kept(const struct kept *kept, const json_t *description, const json_t *schema, const json_t *said)
{
	return kept->dataset && json_equal(kept->description, description) && json_equal(kept->said, said) &&
	       (kept->schema == schema || json_equal(kept->schema, schema));
}

static void say_of_dataset(const struct dataset *dataset, bool has_model)
{
	if (dataset->skipped)
		say(json_pack("{s:s, s:o}", "type", "log", "message",
			json_sprintf("%zu rows without a label are left out", dataset->skipped)));
	if (has_model && dataset->header && !dataset->schema)
		say(json_pack("{s:s, s:s}", "type", "log", "message",
			"the model does not say which columns it was made from: those of the table are taken in their order"));
}

/* The table in the order that the task's model says, or, where the task makes one, that the model will say. */
static int get_dataset(const json_t *task, const json_t *params, struct kept *kept, struct rounds_error *error)
{
	json_t *description = json_object_get(task, "dataset");
	json_auto_t *said = json_pack("{s:O?, s:O?}", "ignore", json_object_get(params, "ignore"), "categories",
		json_object_get(params, "categories"));
	const char *model = json_text_or(task, "model", NULL);
	json_auto_t *schema = NULL;

	if (model && schema_of_model(model, &schema, error))
		return -1;
	if (model && is_kept(kept, description, schema, said))
		return 0;
	forget(kept);
	kept->description = json_incref(description);
	kept->said = json_incref(said);
	if (dataset_load(description, &kept->dataset, error) ||
		(!model && schema_of_dataset(kept->dataset, task, params, &schema, error)) ||
		schema_align(schema, params, kept->dataset, error)) {
		forget(kept);
		return -1;
	}
	kept->schema = json_incref(schema);
	say_of_dataset(kept->dataset, model != NULL);
	return 0;
}

static int do_asked(const json_t *task, const json_t *params, struct dataset *dataset, json_t **result,
	struct rounds_error *error)
{
	if (statistics_asked(task))
		return statistics_do(task, dataset, result, error);
	if (kmeans_asked(task))
		return kmeans_do(task, dataset, result, error);
	if (cox_asked(task))
		return cox_do(task, dataset, result, error);
	return training_do(task, params, dataset, say_progress, result, error);
}

/* A job may name columns that only some sites have: what none has is the server's to see. */
static int tell_lacks(const json_t *params, const struct dataset *dataset, json_t *result, struct rounds_error *error)
{
	json_t *lacks = schema_lacks(dataset, params);

	return lacks && json_object_set_new(result, "lacks", lacks) ? error_no_memory(error) : 0;
}

static int do_task(const json_t *task, struct kept *kept, json_t **result, struct rounds_error *error)
{
	json_auto_t *params = NULL, *faults = json_array();
	const json_t *given = json_object_get(task, "params");
	int64_t protocol = json_integer_or(task, "protocol", 0);
	json_auto_t *none = json_object();

	if (protocol < OLDEST_PROTOCOL || protocol > PROTOCOL)
		return failure_error(error, FAILURE_UNSUPPORTED, "protocol", 0, 0,
			"this trainer speaks versions %d to %d of the executor protocol", OLDEST_PROTOCOL, PROTOCOL);
	params = fields_apply(training_params, given ? given : none, "trainer", faults);
	if (!params)
		return fields_error(faults, error);
	if (!json_is_object(json_object_get(task, "dataset")))
		return failure_error(error, FAILURE_DATASET, "", 0, 0, "the task names no dataset");
	if (get_dataset(task, params, kept, error))
		return -1;
	return do_asked(task, params, kept->dataset, result, error) ||
			       tell_lacks(params, kept->dataset, *result, error)
		       ? -1
		       : 0;
}

static void serve_line(const char *line, size_t size, struct kept *kept)
{
	json_auto_t *task = NULL;
	json_t *result = NULL;
	struct rounds_error error = { 0 };

	if (json_parse(line, size, &task, &error) || do_task(task, kept, &result, &error)) {
		say_error(&error, json_integer_or(task, "protocol", 1));
		return;
	}
	json_object_set_new(result, "type", json_string("result"));
	say(result);
}

/* For rounds-site and its administrator: a dataset of site.json on standard input, what is in it on standard output. */
static int describe(void)
{
	scoped(dataset_free) struct dataset *dataset = NULL;
	json_auto_t *description = json_loadf(stdin, 0, NULL);
	struct rounds_error error = { 0 };

	if (!json_is_object(description))
		failure_error(
			&error, FAILURE_DATASET, "", 0, 0, "standard input must hold a dataset as site.json has it");
	else if (!dataset_load(description, &dataset, &error)) {
		say(dataset_describe(dataset, description));
		return 0;
	}
	say_error(&error, PROTOCOL);
	return 1;
}

static int help(void)
{
	puts("rounds-trainer: trains on a site's data; rounds-site starts it.\n\n"
	     "  rounds-trainer --schema    what a job may say in \"trainer\", as a JSON Schema\n"
	     "  rounds-trainer --describe  what is in the table of the dataset (JSON, as site.json has it) on standard input\n\n"
	     "It reads tasks as JSON lines on standard input; client/README.md describes them. What a job may say "
	     "in\n"
	     "\"trainer\":");
	config_help(training_params);
	return 0;
}

static const struct program_command commands[] = {
	{ "", "", "read tasks as JSON lines on standard input" },
	{ "--schema", "", "what a job may say in \"trainer\", as a JSON Schema" },
	{ "--describe", "", "what is in the table of the dataset (JSON, as site.json has it) on standard input" },
	{ NULL },
};

static const struct program program = {
	.name = "rounds-trainer",
	.section = 8,
	.summary = "trains on a site's data",
	.description =
		"is the built-in trainer that rounds-site starts, by the executor protocol that any program may speak.",
	.commands = commands,
};

int main(int argc, char **argv)
{
	struct kept kept = { 0 };
	char *line = NULL;
	size_t room = 0;
	ssize_t size;

	if (argc > 1 && !strcmp(argv[1], "--version"))
		return puts("rounds-trainer " ROUNDS_VERSION) < 0;
	if (program_describes(&program, argc, argv))
		return 0;
	if (argc > 1 && !strcmp(argv[1], "--schema"))
		return say(fields_schema(training_params)), 0;
	if (argc > 1 && !strcmp(argv[1], "--describe"))
		return describe();
	if (argc > 1)
		return help();
	/* One thread: the same sums in the same order on every machine, so that a run can be repeated to the bit. */
	blas_use_one_thread();
	while ((size = getline(&line, &room, stdin)) > 0)
		serve_line(line, (size_t)size, &kept);
	free(line);
	forget(&kept);
	return 0;
}
