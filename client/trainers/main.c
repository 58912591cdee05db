/*
 * rounds-trainer: the built-in trainers, as an executor that rounds-site starts. It reads one task per line on its
 * standard input and writes progress and results as lines on its standard output; see client/README.md.
 */
#include "client/trainers/cox.h"
#include "client/trainers/kmeans.h"
#include "client/trainers/statistics.h"
#include "client/trainers/training.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/failure.h"
#include "common/json.h"

#include <cblas.h>
#include <stdio.h>
#include <string.h>

enum { PROTOCOL = 1 };

/* The table of the last task, which the next task of the same job most likely wants again. */
struct kept {
	json_t *description;
	struct dataset *dataset;
};

static void say(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

static void say_error(const struct rounds_error *error)
{
	struct failure failure;
	char row[32] = "", column[32] = "";

	failure_of_error(error, &failure);
	if (error->row)
		snprintf(row, sizeof(row), " row %lld", (long long)error->row);
	if (error->column)
		snprintf(column, sizeof(column), " column %lld", (long long)error->column);
	say(json_pack("{s:s, s:o, s:b}", "type", "error", "message",
		json_sprintf("%s%s%s%s%s", error->field, row, column, error->field[0] || error->row ? ": " : "",
			error->message),
		"retry", failure.retry));
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

static int get_dataset(const json_t *description, struct kept *kept, struct rounds_error *error)
{
	if (kept->dataset && json_equal(kept->description, description))
		return 0;
	dataset_free(kept->dataset);
	json_decref(kept->description);
	*kept = (struct kept){ 0 };
	if (dataset_load(description, &kept->dataset, error))
		return -1;
	kept->description = json_incref((json_t *)(uintptr_t)description);
	if (kept->dataset->skipped)
		say(json_pack("{s:s, s:o}", "type", "log", "message",
			json_sprintf("%zu rows without a label are left out", kept->dataset->skipped)));
	return 0;
}

static int do_task(const json_t *task, struct kept *kept, json_t **result, struct rounds_error *error)
{
	json_auto_t *params = NULL, *faults = json_array();
	const json_t *given = json_object_get(task, "params");
	json_auto_t *none = json_object();

	if (json_integer_or(task, "protocol", 0) != PROTOCOL)
		return error_set(
			error, ERROR_INVALID, "this trainer speaks version %d of the executor protocol", PROTOCOL);
	params = fields_apply(training_params, given ? given : none, "trainer", faults);
	if (!params)
		return fields_error(faults, error);
	if (!json_is_object(json_object_get(task, "dataset")))
		return error_set(error, ERROR_INVALID, "the task names no dataset");
	if (get_dataset(json_object_get(task, "dataset"), kept, error))
		return -1;
	if (statistics_asked(task))
		return statistics_do(task, kept->dataset, result, error);
	if (kmeans_asked(task))
		return kmeans_do(task, kept->dataset, result, error);
	if (cox_asked(task))
		return cox_do(task, kept->dataset, result, error);
	return training_do(task, params, kept->dataset, say_progress, result, error);
}

static void serve_line(const char *line, size_t size, struct kept *kept)
{
	json_auto_t *task = NULL;
	json_t *result = NULL;
	struct rounds_error error = { 0 };

	if (json_parse(line, size, &task, &error) || do_task(task, kept, &result, &error)) {
		say_error(&error);
		return;
	}
	json_object_set_new(result, "type", json_string("result"));
	say(result);
}

static int help(void)
{
	puts("rounds-trainer: trains on a site's data; rounds-site starts it.\n\n"
	     "It reads tasks as JSON lines on standard input; client/README.md describes them. What a job may say "
	     "in\n"
	     "\"trainer\":");
	config_help(training_params);
	return 0;
}

int main(int argc, char **argv)
{
	struct kept kept = { 0 };
	char *line = NULL;
	size_t room = 0;
	ssize_t size;

	if (argc > 1 && !strcmp(argv[1], "--version"))
		return puts("rounds-trainer " ROUNDS_VERSION) < 0;
	if (argc > 1)
		return help();
	/* One thread: the same sums in the same order on every machine, so that a run can be repeated to the bit. */
	openblas_set_num_threads(1);
	while ((size = getline(&line, &room, stdin)) > 0)
		serve_line(line, (size_t)size, &kept);
	free(line);
	dataset_free(kept.dataset);
	json_decref(kept.description);
	return 0;
}
