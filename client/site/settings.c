#include "client/site/settings.h"

#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct field dataset_fields[] = {
	{ "path", FIELD_TEXT, "The file: CSV with a header, packed with gzip or not; or NPY", .required = true,
		.min = 1, .max = 4096 },
	{ "label", FIELD_TEXT, "CSV: the column to be predicted", .min = 1, .max = 200 },
	{ "labels", FIELD_TEXT, "NPY: the file of labels", .min = 1, .max = 4096 },
	{ "encoding", FIELD_TEXT,
		"CSV: how characters are written, a name of `iconv -l` such as windows-1252; a byte order mark and UTF-16 are "
		"known without it, all else is UTF-8",
		.min = 1, .max = 60 },
	{ "delimiter", FIELD_TEXT,
		"CSV: what stands between columns; comma, semicolon, tab and | are known without it", .min = 1,
		.max = 1 },
	{ "decimal", FIELD_TEXT,
		"CSV: the sign before a number's fraction; where it is said, the other one groups digits by thousands",
		.choices = { ".", "," } },
	{ "ignore", FIELD_TEXTS, "CSV: columns that are no features, such as a patient's number", .fallback = "[]",
		.min = 0, .max = 10000 },
	{ "categories", FIELD_OBJECT,
		"CSV: columns of text and their values, each a feature of 0 or 1: {\"sex\": [\"f\", \"m\"]}",
		.fallback = "{}" },
	{ "describe", FIELD_TEXT, "What the server is told of this dataset, if it differs from the others",
		.choices = { "names", "columns", "counts" } },
	{ "min_cell", FIELD_INTEGER,
		"Statistics, k-means and exact Cox regression tell nothing about fewer people than this; 1: everything",
		.fallback = "5", .min = 1, .max = 1000000 },
	{ "classes", FIELD_TEXTS, "The label's values in order, where they are text", .fallback = "[]", .min = 0,
		.max = 10000 },
	{ NULL },
};

static const struct field executor_fields[] = {
	{ "command", FIELD_TEXTS, "The program and its arguments", .min = 1, .max = 100 },
	{ "socket", FIELD_TEXT,
		"Instead of a command: the path of a socket to which a program connects that someone else has started, such as a "
		"cluster's scheduler",
		.min = 1, .max = 100 },
	{ "share_log", FIELD_BOOL,
		"Tell the server its log lines, for the job's events; they may hold what your data hold",
		.fallback = "false" },
	{ "keep", FIELD_BOOL, "Keep it running between the tasks of a job", .fallback = "true" },
	{ "memory_mb", FIELD_INTEGER, "Most memory it may use; 0: no limit", .fallback = "0", .min = 0,
		.max = 100000000 },
	{ "cpu_seconds", FIELD_INTEGER, "Most processor time it may use; 0: no limit", .fallback = "0", .min = 0,
		.max = 1e9 },
	{ "environment", FIELD_TEXTS,
		"NAME=value for its environment, which is else empty but for PATH, HOME and LANG", .fallback = "[]",
		.min = 0, .max = 100 },
	{ NULL },
};

const struct field site_settings[] = {
	{ "server", FIELD_TEXT, "The server's address, https://HOST:PORT; `join` writes it down", .min = 9,
		.max = 300 },
	{ "state_dir", FIELD_TEXT, "Key, certificate, kept models and results",
		.fallback = "\"/var/lib/rounds-site\"", .min = 1, .max = 1000 },
	{ "ca_file", FIELD_TEXT, "Whom to trust as the server; else the authority that it was joined with", .min = 1,
		.max = 4096 },
	{ "proxy", FIELD_TEXT, "Proxy; else HTTPS_PROXY and NO_PROXY of the environment", .min = 1, .max = 300 },
	{ "peers_file", FIELD_TEXT,
		"A consortium's signed list of its sites' keys, which `peers` takes for confirmed", .min = 1,
		.max = 4096 },
	{ "peers_key", FIELD_TEXT,
		"Its public key, 64 hexadecimal digits, as the consortium gave it by another way than the server's",
		.min = 64, .max = 64 },
	{ "slots", FIELD_INTEGER, "How many jobs to take part in at once", .fallback = "1", .min = 1, .max = 64 },
	{ "cache_mb", FIELD_INTEGER, "Most space for kept models", .fallback = "20000", .min = 1, .max = 1e9 },
	{ "own_days", FIELD_INTEGER, "What a job keeps at this site is removed so many days after its last task",
		.fallback = "90", .min = 1, .max = 100000 },
	{ "describe", FIELD_TEXT,
		"What the server is told of the data: names of datasets, also of columns and the label, or also how many rows, "
		"rounded. `rounds-site datasets` shows it",
		.fallback = "\"names\"", .choices = { "names", "columns", "counts" } },
	{ "datasets", FIELD_MAP, "The data that jobs may name", .fallback = "{}", .nested = dataset_fields },
	{ "executors", FIELD_MAP,
		"The programs that jobs may name; \"trainer\" is rounds-trainer unless it has a command or socket",
		.fallback = "{}", .nested = executor_fields },
	{ "log_level", FIELD_TEXT, "What to log", .fallback = "\"info\"",
		.choices = { "debug", "info", "warn", "error" } },
	{ "log_json", FIELD_BOOL, "Log lines as JSON", .fallback = "false" },
	{ "check_config", FIELD_BOOL, "Check the settings, open every table, print what is in it, and stop",
		.fallback = "false" },
	{ NULL },
};

char *state_path(const json_t *settings, const char *name)
{
	return text_new("%s/%s", json_text_or(settings, "state_dir", ""), name);
}

char *state_word(const json_t *settings, const char *name)
{
	scoped(text_free) char *path = state_path(settings, name);
	struct rounds_error ignored;
	char *text = NULL;

	if (!path || file_read(path, 1000, &text, NULL, &ignored))
		return NULL;
	text[strcspn(text, "\r\n")] = '\0';
	return text;
}

char *settings_trainer(void)
{
	char path[4096], beside[4200];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (length <= 0)
		return strdup("rounds-trainer");
	path[length] = '\0';
	slash = strrchr(path, '/');
	snprintf(beside, sizeof(beside), "%.*s/rounds-trainer", (int)(slash - path), path);
	return strdup(access(beside, X_OK) == 0 ? beside : "rounds-trainer");
}

static json_t *builtin_trainer(void)
{
	scoped(text_free) char *trainer = settings_trainer();

	return json_string(trainer);
}

static int make_absolute(json_t *dataset, const char *name, const char *key, struct rounds_error *error)
{
	const char *path = json_text_or(dataset, key, NULL);
	char *absolute, field[160];

	if (!path)
		return 0;
	absolute = realpath(path, NULL);
	if (!absolute) {
		snprintf(field, sizeof(field), "datasets.%s.%s", name, key);
		return error_field(error, field, "there is no file %.300s that can be read", path);
	}
	json_object_set_new(dataset, key, json_string(absolute));
	free(absolute);
	return 0;
}

/* Executors work in a directory of their own, where a relative path means something else. */
static int root_state(json_t *settings, struct rounds_error *error)
{
	const char *given = json_text_or(settings, "state_dir", "");
	scoped(text_free) char *here = NULL, *path = NULL;

	if (given[0] == '/')
		return 0;
	here = getcwd(NULL, 0);
	path = here ? text_new("%s/%s", here, given) : NULL;
	if (!path)
		return error_errno(error, "cannot tell where state_dir %.200s is", given);
	return json_object_set_new(settings, "state_dir", json_text(path)) ? error_no_memory(error) : 0;
}

int settings_complete(json_t *settings, struct rounds_error *error)
{
	json_t *executors = json_object_get(settings, "executors"), *dataset;
	json_t *trainer = json_object_get(executors, "trainer");
	const char *name;

	if (root_state(settings, error))
		return -1;
	if (!trainer && !json_object_set_new(executors, "trainer", json_pack("{s:b}", "keep", 1)))
		trainer = json_object_get(executors, "trainer");
	if (!json_object_get(trainer, "command") && !json_object_get(trainer, "socket"))
		json_object_set_new(trainer, "command", json_pack("[o]", builtin_trainer()));
	json_object_foreach (executors, name, dataset) {
		if (!json_object_get(dataset, "command") == !json_object_get(dataset, "socket"))
			return error_set(
				error, ERROR_INVALID, "executors.%s must have either a command or a socket", name);
	}
	json_object_foreach (json_object_get(settings, "datasets"), name, dataset) {
		json_object_set_new(dataset, "name", json_string(name));
		if (!json_object_get(dataset, "describe"))
			json_object_set(dataset, "describe", json_object_get(settings, "describe"));
		if (make_absolute(dataset, name, "path", error) || make_absolute(dataset, name, "labels", error))
			return -1;
	}
	return 0;
}
