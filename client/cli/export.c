/* A job's history for other tools: Chrome traces, CSV. */
#include "client/cli/cli.h"

#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const struct field trace_flags[] = {
	{ "to", FIELD_TEXT, "Where to save it; none: standard output", .min = 1, .max = 1000 },
	{ NULL },
};

const struct field export_flags[] = {
	{ "csv", FIELD_TEXT, "A folder for metrics.csv, rounds.csv and tasks.csv", .required = true, .min = 1,
		.max = 1000 },
	{ NULL },
};

/* The columns of a task in /timeline; see server/store/charts.h. */
enum { ROUND, SITE, KIND, STATE, ISSUED, LEASED, FINISHED, DOWNLOAD, TRAIN, UPLOAD };

static double at(const json_t *row, size_t column)
{
	const json_t *value = json_array_get(row, column);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

/* A slice on the line of thread `line`; times in milliseconds. */
static void add_slice(json_t *events, const char *name, size_t line, double begin, double length, const json_t *row)
{
	if (!(length > 0) || !isfinite(begin))
		return;
	json_array_append_new(events, json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:{s:O}}", "name", name, "cat",
					      "rounds", "ph", "X", "pid", 1, "tid", (int)line, "ts", 1000 * begin,
					      "dur", 1000 * length, "args", "round", json_array_get(row, ROUND)));
}

static void name_line(json_t *events, size_t line, const char *name)
{
	json_array_append_new(events, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", "thread_name", "ph", "M",
					      "pid", 1, "tid", (int)line, "args", "name", name));
}

static void add_task(json_t *events, const json_t *row)
{
	size_t line = (size_t)at(row, SITE) + 1;
	double begin = at(row, LEASED);

	add_slice(events, "waiting", line, at(row, ISSUED), begin - at(row, ISSUED), row);
	if (!isfinite(at(row, TRAIN))) {
		add_slice(events, json_string_value(json_array_get(row, STATE)), line, begin,
			at(row, FINISHED) - begin, row);
		return;
	}
	add_slice(events, "downloading", line, begin, at(row, DOWNLOAD), row);
	begin += at(row, DOWNLOAD);
	add_slice(events, json_string_value(json_array_get(row, KIND)), line, begin, at(row, TRAIN), row);
	add_slice(events, "uploading", line, begin + at(row, TRAIN), at(row, UPLOAD), row);
}

/* The server is line 0, the sites follow in order of name. */
static json_t *make_trace(const json_t *timeline)
{
	json_t *events = json_array(), *row;
	size_t i;

	name_line(events, 0, "server");
	json_array_foreach (json_object_get(timeline, "sites"), i, row)
		name_line(events, i + 1, json_string_value(row));
	json_array_foreach (json_object_get(timeline, "rounds"), i, row)
		add_slice(events, "aggregating", 0, at(row, 3), at(row, 4) - at(row, 3), row);
	json_array_foreach (json_object_get(timeline, "tasks"), i, row)
		add_task(events, row);
	return json_pack("{s:o, s:s, s:{s:O}}", "traceEvents", events, "displayTimeUnit", "ms", "otherData", "origin",
		json_object_get(timeline, "origin"));
}

static int fetch(struct cli *cli, const char *what, json_t **answer, struct rounds_error *error)
{
	char id[40], path[120];

	if (cli_job_id(cli, cli_word(cli, 0), id, error))
		return -1;
	snprintf(path, sizeof(path), "/api/v1/jobs/%s%s", id, what);
	return cli_get(cli, path, answer, error);
}

int job_trace(struct cli *cli, struct rounds_error *error)
{
	const char *to = json_text_or(cli->options, "to", NULL);
	json_auto_t *timeline = NULL, *trace = NULL;
	scoped(text_free) char *text = NULL;

	if (fetch(cli, "/timeline", &timeline, error))
		return -1;
	trace = make_trace(timeline);
	text = trace ? json_dumps(trace, JSON_COMPACT) : NULL;
	if (!text)
		return error_no_memory(error);
	if (!to)
		return puts(text) < 0 ? EXIT_FAILED : EXIT_DONE;
	return file_replace(to, text, strlen(text), 0644, error) ? -1 : EXIT_DONE;
}

/* RFC 4180; what a spreadsheet would take for a formula is told apart by a quote. */
static void put_cell(FILE *out, const json_t *value)
{
	const char *text = json_string_value(value);

	if (json_is_integer(value))
		fprintf(out, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		fprintf(out, "%.17g", json_real_value(value));
	if (!text)
		return;
	fputc('"', out);
	if (strchr("=+-@", *text) && *text)
		fputc('\'', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void put_row(FILE *out, const json_t *row, const char *const *columns)
{
	for (size_t i = 0; columns[i]; i++) {
		if (i > 0)
			fputc(',', out);
		put_cell(out, json_object_get(row, columns[i]));
	}
	fputs("\r\n", out);
}

struct table;
typedef int put_fn(struct cli *cli, const struct table *table, FILE *out, struct rounds_error *error);

struct table {
	const char *name;
	put_fn *put;
	const char *columns[16];
};

static void put_items(const json_t *page, const struct table *table, FILE *out)
{
	size_t i;
	json_t *row;

	json_array_foreach (json_object_get(page, "items"), i, row)
		put_row(out, row, table->columns);
}

static int put_metrics(struct cli *cli, const struct table *table, FILE *out, struct rounds_error *error)
{
	json_auto_t *curves = NULL;
	size_t i, j;
	json_t *series, *round;

	if (fetch(cli, "/curves", &curves, error))
		return -1;
	json_array_foreach (json_object_get(curves, "series"), i, series) {
		json_array_foreach (json_object_get(series, "rounds"), j, round) {
			json_auto_t *row = json_pack("{s:O, s:O, s:O, s:O}", "round", round, "site",
				json_object_get(series, "site"), "name", json_object_get(series, "name"), "value",
				json_array_get(json_object_get(series, "values"), j));

			put_row(out, row, table->columns);
		}
	}
	return 0;
}

static int put_rounds(struct cli *cli, const struct table *table, FILE *out, struct rounds_error *error)
{
	char path[100];
	int64_t cursor = -1;

	for (;;) {
		json_auto_t *page = NULL;

		snprintf(path, sizeof(path), "/rounds?limit=1000&cursor=%lld", (long long)cursor);
		if (fetch(cli, path, &page, error))
			return -1;
		put_items(page, table, out);
		if (!json_is_integer(json_object_get(page, "next")))
			return 0;
		cursor = json_integer_or(page, "next", 0);
	}
}

/* Round by round, so that no answer is too long. */
static int put_tasks(struct cli *cli, const struct table *table, FILE *out, struct rounds_error *error)
{
	json_auto_t *job = NULL;
	char path[60];

	if (fetch(cli, "", &job, error))
		return -1;
	for (int64_t round = 0; round <= json_integer_or(job, "round", 0); round++) {
		json_auto_t *page = NULL;

		snprintf(path, sizeof(path), "/tasks?round=%lld", (long long)round);
		if (fetch(cli, path, &page, error))
			return -1;
		put_items(page, table, out);
	}
	return 0;
}

static const struct table tables[] = {
	{ "metrics", put_metrics, { "round", "site", "name", "value" } },
	{ "rounds", put_rounds,
		{ "number", "state", "method", "started", "aggregating", "finished", "model", "manifest_digest" } },
	{ "tasks", put_tasks,
		{ "round", "kind", "site", "state", "attempts", "weight", "created", "leased", "finished", "update",
			"reason" } },
};

static int put_table(struct cli *cli, const char *folder, const struct table *table, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/%s.csv", folder, table->name);
	scoped(text_free) char *text = NULL;
	size_t size = 0;
	FILE *out = path ? open_memstream(&text, &size) : NULL;
	int failed;

	if (!out)
		return error_no_memory(error);
	for (size_t i = 0; table->columns[i]; i++)
		fprintf(out, "%s%s", i > 0 ? "," : "", table->columns[i]);
	fputs("\r\n", out);
	failed = table->put(cli, table, out, error);
	if (fclose(out))
		return error_no_memory(error);
	return failed || file_replace(path, text, size, 0644, error) ? -1 : 0;
}

int job_export(struct cli *cli, struct rounds_error *error)
{
	const char *folder = json_text_or(cli->options, "csv", "");

	if (directory_make(folder, 0755, error))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (put_table(cli, folder, &tables[i], error))
			return -1;
	if (!cli->json)
		printf("Saved metrics.csv, rounds.csv and tasks.csv in %s.\n", folder);
	return EXIT_DONE;
}
