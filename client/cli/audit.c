/* The audit log: looking through it, taking it home, and proving it without the server. */
#include "client/cli/cli.h"

#include "common/chain/chain.h"
#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHAIN "audit"

enum { KEY_LIMIT = 4096 };

const struct field audit_list_flags[] = {
	{ "kind", FIELD_TEXT, "Only this kind, such as job.delete, or all that begin so, such as session.", .min = 1,
		.max = 40 },
	{ "by", FIELD_NAME, "Only what this person, token or site did" },
	{ "about", FIELD_TEXT, "Only what was done to this job, token, account, site or blob", .min = 1, .max = 80 },
	{ "outcome", FIELD_TEXT, "Only what came out so", .choices = { "done", "refused", "failed" } },
	{ "limit", FIELD_INTEGER, "How many", .fallback = "50", .min = 1, .max = 1000 },
	{ NULL },
};

const struct field audit_verify_flags[] = {
	{ "key", FIELD_TEXT, "The file with the public key, as `rounds audit key` printed it", .min = 1,
		.max = 1000 },
	{ "since", FIELD_TEXT, "An earlier export, which this one must go on from", .min = 1, .max = 1000 },
	{ NULL },
};

static json_t *line_of(const json_t *entry)
{
	const json_t *record = json_object_get(entry, "record"), *about = json_object_get(record, "about");
	const char *name = json_text_or(about, "name", json_text_or(about, "id", ""));
	scoped(text_free) char *what = text_new("%s %s", json_text_or(about, "kind", ""), name);

	return json_pack("{s:O, s:O?, s:O?, s:O?, s:O?, s:s, s:O?, s:O?}", "n", json_object_get(entry, "n"), "time",
		json_object_get(record, "time"), "by", json_object_get(json_object_get(record, "by"), "name"), "from",
		json_object_get(record, "from"), "kind", json_object_get(record, "kind"), "about",
		what && *name ? what : "-", "outcome", json_object_get(record, "outcome"), "count",
		json_object_get(record, "count"));
}

static void warn_of_state(const json_t *state)
{
	const char *fault = json_text_or(state, "fault", NULL);

	if (fault)
		fprintf(stderr, "The log is not as it was signed: %s.\n", fault);
	if (!json_bool_or(state, "writable", true))
		fprintf(stderr, "The log cannot be written just now: %lld entries are missing so far.\n",
			(long long)json_integer_or(state, "unrecorded", 0));
}

static char *list_path(const struct cli *cli)
{
	static const char *const filters[] = { "kind", "by", "about", "outcome" };
	char *path = text_new("/api/v1/audit?limit=%lld", (long long)json_integer_or(cli->options, "limit", 50));

	for (size_t i = 0; path && i < ARRAY_SIZE(filters); i++) {
		const char *given = json_text_or(cli->options, filters[i], NULL);
		scoped(text_free) char *value = given ? text_percent(given) : NULL;
		scoped(text_free) char *before = path;

		path = given ? text_new("%s&%s=%s", before, filters[i], value ? value : "") : text_new("%s", before);
	}
	return path;
}

int audit_list(struct cli *cli, struct rounds_error *error)
{
	static const struct column columns[] = { { "N", "n" }, { "TIME", "time" }, { "BY", "by" }, { "FROM", "from" },
		{ "WHAT", "kind" }, { "ON", "about" }, { "OUTCOME", "outcome" }, { "TIMES", "count" },
		{ NULL, NULL } };
	scoped(text_free) char *path = list_path(cli);
	json_auto_t *answer = NULL, *lines = json_array();
	size_t i;
	json_t *entry;

	if (!path)
		return error_no_memory(error);
	if (cli_get(cli, path, &answer, error))
		return -1;
	warn_of_state(json_object_get(answer, "state"));
	if (cli->json)
		return show_table(cli, json_object_get(answer, "items"), columns);
	json_array_foreach (json_object_get(answer, "items"), i, entry)
		json_array_append_new(lines, line_of(entry));
	return show_table(cli, lines, columns);
}

int audit_key(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL;

	if (cli_get(cli, "/api/v1/audit/key", &answer, error))
		return -1;
	fputs(json_text_or(answer, "key", ""), stdout);
	return EXIT_DONE;
}

static void close_file(FILE *file)
{
	if (file)
		fclose(file);
}
DEFINE_CLEANUP(FILE *, close_file);

/* Hands a part's lines on; *after becomes its last entry, and `ended` says whether the checkpoint was there. */
static int copy_part(FILE *part, int64_t *after, bool *ended, struct rounds_error *error)
{
	scoped(text_free) char *line = NULL;
	size_t room = 0;
	int64_t before = *after;

	*ended = false;
	rewind(part);
	while (!*ended && getline(&line, &room, part) > 0) {
		json_auto_t *value = json_loads(line, 0, NULL);

		*after = json_integer_or(value, "n", *after);
		*ended = json_object_get(value, "checkpoint") != NULL;
		if (fputs(line, stdout) < 0)
			return error_errno(error, "cannot write the export");
	}
	return *ended || *after > before ? 0
					 : error_set(error, ERROR_UNAVAILABLE,
						   "the export broke off behind entry %lld", (long long)before);
}

int audit_export(struct cli *cli, struct rounds_error *error)
{
	int64_t after = 0;
	bool ended = false;
	char path[80];

	while (!ended) {
		scoped(close_file) FILE *part = tmpfile();

		if (!part)
			return error_errno(error, "cannot keep a part of the export");
		snprintf(path, sizeof(path), "/api/v1/audit/export?after=%lld", (long long)after);
		if (connection_download(cli->connection, path, fileno(part), 0, UINT64_MAX, NULL, NULL, error) ||
			copy_part(part, &after, &ended, error))
			return -1;
	}
	return fflush(stdout) ? error_errno(error, "cannot write the export") : EXIT_DONE;
}

static int verify_file(const char *path, const char *key, const struct checkpoint *earlier, struct checkpoint *last,
	struct rounds_error *error)
{
	scoped(close_file) FILE *file = fopen(path, "re");

	if (!file)
		return error_errno(error, "cannot read %s", path);
	return chain_verify(file, CHAIN, key, earlier, last, error) ? error_prefix(error, "%s", path) : 0;
}

int audit_verify(struct cli *cli, struct rounds_error *error)
{
	const char *key_path = json_text_or(cli->options, "key", NULL);
	const char *since = json_text_or(cli->options, "since", NULL);
	scoped(text_free) char *key = NULL;
	struct checkpoint earlier, last;
	size_t size;

	if (!key_path)
		return error_set(error, ERROR_INVALID,
			"name the public key: --key FILE (rounds audit key > FILE, kept where the server's "
			"administrator cannot change it)");
	if (file_read(key_path, KEY_LIMIT, &key, &size, error))
		return -1;
	if ((since && verify_file(since, key, NULL, &earlier, error)) ||
		verify_file(cli_word(cli, 0), key, since ? &earlier : NULL, &last, error)) {
		if (error->kind != ERROR_CHECKSUM)
			return -1;
		fprintf(stderr, "rounds: %s\n", error->message);
		return EXIT_JOB_FAILED;
	}
	printf("Whole: %lld entries, signed %s.\n", (long long)last.head.length, last.time);
	return EXIT_DONE;
}
