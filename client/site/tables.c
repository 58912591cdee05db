#include "client/site/tables.h"

#include "client/site/settings.h"
#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DESCRIPTION_LIMIT = 64 << 20, ROWS_LEAST = 10 };

/* With `in` and `out` as its standard input and output; waits for its end. */
static int run(const char *program, int in, int out, struct rounds_error *error)
{
	char *const words[] = { (char *)(uintptr_t)program, (char *)(uintptr_t) "--describe", NULL };
	char *const environment[] = { (char *)(uintptr_t) "PATH=/usr/local/bin:/usr/bin:/bin", NULL };
	posix_spawn_file_actions_t actions;
	int failed, status = 0;
	pid_t pid;

	if (posix_spawn_file_actions_init(&actions))
		return error_no_memory(error);
	failed = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO) ||
		 posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (!failed)
		failed = posix_spawnp(&pid, program, &actions, NULL, words, environment);
	posix_spawn_file_actions_destroy(&actions);
	if (failed)
		return error_set(error, ERROR_IO, "rounds-trainer, which reads tables, cannot be started: %s",
			strerror(failed));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) <= 1
		       ? 0
		       : error_set(error, ERROR_IO, "rounds-trainer ended before it had read the table");
}

int table_describe(const json_t *dataset, json_t **described, struct rounds_error *error)
{
	scoped(file_close) int in = memfd_create("dataset", MFD_CLOEXEC), out = memfd_create("table", MFD_CLOEXEC);
	scoped(text_free) char *text = json_dumps(dataset, JSON_COMPACT), *trainer = settings_trainer();
	scoped(text_free) char *said = NULL;
	json_auto_t *value = NULL;
	char path[32];
	size_t size;

	if (in < 0 || out < 0 || !text || !trainer)
		return error_no_memory(error);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", out);
	if (file_write_all(in, text, strlen(text), error) || lseek(in, 0, SEEK_SET) < 0 ||
		run(trainer, in, out, error) || file_read(path, DESCRIPTION_LIMIT, &said, &size, error) ||
		json_parse(said, size, &value, error))
		return -1;
	if (!strcmp(json_text_or(value, "type", ""), "error"))
		return error_set(error, ERROR_INVALID, "%s", json_text_or(value, "message", "it cannot be read"));
	*described = json_incref(value);
	return 0;
}

static json_t *column_names(const json_t *described)
{
	json_t *names = json_array(), *column;
	size_t i;

	json_array_foreach (json_object_get(described, "columns"), i, column) {
		const char *kind = json_text_or(column, "kind", "");

		if (!strcmp(kind, "number") || !strcmp(kind, "category"))
			json_array_append(names, json_object_get(column, "name"));
	}
	return names;
}

json_t *table_told(const json_t *dataset, const json_t *described)
{
	const char *how = json_text_or(dataset, "describe", "names");
	int64_t rows = json_integer_or(described, "rows", 0), step = ROWS_LEAST;
	int64_t least = json_integer_or(dataset, "min_cell", 5);
	json_t *told = json_object();

	if (!strcmp(how, "names"))
		return told;
	json_object_set_new(told, "columns", column_names(described));
	if (json_text_or(dataset, "label", NULL))
		json_object_set(told, "label", json_object_get(dataset, "label"));
	while (rows / step >= 100)
		step *= 10;
	if (!strcmp(how, "counts") && rows >= least && rows >= ROWS_LEAST)
		json_object_set_new(told, "rows", json_integer((rows + step / 2) / step * step));
	return told;
}

/* What stands in a table may be anything; what goes to a terminal may not. */
static void print_clean(const char *text, int width)
{
	scoped(text_free) char *clean = text_new_repaired(text, strlen(text));

	for (char *c = clean; c && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	printf("%-*s", width, clean ? clean : "");
}

static void print_values(const json_t *column)
{
	const char *name;
	json_t *count;

	json_object_foreach (json_object_get(column, "values"), name, count) {
		putchar(' ');
		print_clean(name, 0);
		printf(" %lld", (long long)json_integer_value(count));
	}
	if (json_object_get(column, "mean"))
		printf(" %.6g to %.6g, mean %.6g", json_number_or(column, "least", 0),
			json_number_or(column, "greatest", 0), json_number_or(column, "mean", 0));
	putchar('\n');
}

static void print_column(const json_t *column, const char *what)
{
	printf("  ");
	print_clean(json_text_or(column, "name", "(no name)"), 28);
	printf(" %-10s", what);
	if (json_object_get(column, "missing"))
		printf(" %7lld missing ", (long long)json_integer_or(column, "missing", 0));
	print_values(column);
}

static void print_told(const json_t *dataset, const json_t *described)
{
	json_auto_t *told = table_told(dataset, described);

	printf("  The server is told the dataset's name");
	if (json_object_get(told, "columns"))
		printf(", the names of %zu columns and the label's",
			json_array_size(json_object_get(told, "columns")));
	if (json_object_get(told, "rows"))
		printf(", and %lld rows", (long long)json_integer_or(told, "rows", 0));
	printf(" (\"describe\": \"%s\").\n"
	       "  A model that is made here carries names of columns; values of categories and classes only if the job lists "
	       "them.\n",
		json_text_or(dataset, "describe", "names"));
}

static void print_described(const json_t *dataset, const json_t *described)
{
	const json_t *format = json_object_get(described, "format");
	const char *delimiter = json_text_or(format, "delimiter", "");
	size_t i;
	json_t *column;

	printf("%lld rows", (long long)json_integer_or(described, "rows", 0));
	if (format)
		printf("; %s%s, columns parted by %s", json_text_or(format, "encoding", ""),
			json_bool_or(format, "packed", false) ? ", packed" : "",
			strcmp(delimiter, "\t") ? delimiter : "tabs");
	if (json_integer_or(described, "skipped", 0))
		printf("; %lld more without a label are left out",
			(long long)json_integer_or(described, "skipped", 0));
	putchar('\n');
	json_array_foreach (json_object_get(described, "columns"), i, column)
		if (strcmp(json_text_or(column, "kind", ""), "label") != 0)
			print_column(column, json_text_or(column, "kind", ""));
	print_column(json_object_get(described, "label"), "label");
	print_told(dataset, described);
}

static bool is_table(const json_t *dataset)
{
	return json_text_or(dataset, "label", NULL) || json_text_or(dataset, "labels", NULL);
}

bool tables_print(const json_t *settings)
{
	const char *name;
	json_t *dataset;
	bool good = true;

	json_object_foreach (json_object_get(settings, "datasets"), name, dataset) {
		json_auto_t *described = NULL;
		struct rounds_error error = { 0 };

		printf("%s: ", name);
		fflush(stdout);
		if (!is_table(dataset)) {
			puts("for programs that read it themselves: it names no label");
		} else if (table_describe(dataset, &described, &error)) {
			puts(error.message);
			good = false;
		} else {
			print_described(dataset, described);
		}
	}
	return good;
}
