/* A job's history as tables for spreadsheets and scripts. */
#include "client/cli/history.h"

#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>

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
typedef int put_fn(const struct history *history, const struct table *table, FILE *out, struct rounds_error *error);

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

static int put_metrics(
	const struct history *history, const struct table *table, FILE *out, struct rounds_error *error)
{
	size_t i, j;
	json_t *series, *round;

	(void)error;
	json_array_foreach (json_object_get(history->curves, "series"), i, series) {
		json_array_foreach (json_object_get(series, "rounds"), j, round) {
			json_auto_t *row = json_pack("{s:O, s:O, s:O, s:O}", "round", round, "site",
				json_object_get(series, "site"), "name", json_object_get(series, "name"), "value",
				json_array_get(json_object_get(series, "values"), j));

			put_row(out, row, table->columns);
		}
	}
	return 0;
}

static int put_rounds(const struct history *history, const struct table *table, FILE *out, struct rounds_error *error)
{
	char path[100];
	int64_t cursor = -1;

	for (;;) {
		json_auto_t *page = NULL;

		snprintf(path, sizeof(path), "/rounds?limit=1000&cursor=%lld", (long long)cursor);
		if (history_get(history, path, &page, error))
			return -1;
		put_items(page, table, out);
		if (!json_is_integer(json_object_get(page, "next")))
			return 0;
		cursor = json_integer_or(page, "next", 0);
	}
}

/* Round by round, so that no answer is too long. */
static int put_tasks(const struct history *history, const struct table *table, FILE *out, struct rounds_error *error)
{
	char path[60];

	for (int64_t round = 0; round <= json_integer_or(history->job, "round", 0); round++) {
		json_auto_t *page = NULL;

		snprintf(path, sizeof(path), "/tasks?round=%lld", (long long)round);
		if (history_get(history, path, &page, error))
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

static int put_table(
	const struct history *history, const char *folder, const struct table *table, struct rounds_error *error)
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
	failed = table->put(history, table, out, error);
	if (fclose(out))
		return error_no_memory(error);
	return failed || file_replace(path, text, size, 0644, error) ? -1 : 0;
}

int save_csv(const struct history *history, const char *folder, struct rounds_error *error)
{
	if (directory_make(folder, 0755, error))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (put_table(history, folder, &tables[i], error))
			return -1;
	if (!history->cli->json)
		printf("Saved metrics.csv, rounds.csv and tasks.csv in %s.\n", folder);
	return 0;
}
