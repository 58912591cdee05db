#include "server/engine/protocol.h"

#include "common/artifact.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/uuid.h"

#include <stdio.h>
#include <string.h>

enum { TABLES_BYTES = 64 * 1024 };

/* What a site's administrator chose to tell of a table. */
static const struct field table_fields[] = {
	{ "columns", FIELD_TEXTS, "The names of its columns", .min = 0, .max = 10000 },
	{ "rows", FIELD_INTEGER, "How many rows it has, rounded", .min = 0, .max = 1e15 },
	{ "label", FIELD_TEXT, "The column that is to be predicted", .min = 1, .max = 1000 },
	{ NULL },
};

/* clang-format off */
#define CLAIM_1 \
	{ "protocol", FIELD_INTEGER, "The version of the protocol that the site speaks", .required = true, .min = 0, \
		.max = 1e6 }, \
	{ "version", FIELD_TEXT, "The site's own version", .fallback = "\"\"", .min = 0, .max = 63 }, \
	{ "slots", FIELD_INTEGER, "How many jobs it takes part in at once", .fallback = "1", .min = 1, .max = 1024 }, \
	{ "datasets", FIELD_NAMES, "What data it offers", .fallback = "[]", .min = 0, .max = 1000 }, \
	{ "executors", FIELD_NAMES, "What programs it offers", .fallback = "[]", .min = 0, .max = 1000 }, \
	{ "holding", FIELD_TEXTS, "Tasks that it works on or has results of", .fallback = "[]", .min = 0, .max = 4096 }
#define CLAIM_2 CLAIM_1, \
	{ "instance", FIELD_TEXT, "A UUID of the running program, made at random at its start", .min = 36, .max = 36 }, \
	{ "tables", FIELD_MAP, "What it tells of its datasets", .nested = table_fields }, \
	{ "keys", FIELD_TEXTS, "Its statements of its keys, oldest first", .fallback = "[]", .min = 0, .max = 16 }
/* clang-format on */

static const struct field claim_1[] = { CLAIM_1, { NULL } };
static const struct field claim_2[] = { CLAIM_2, { NULL } };

const struct protocol protocols[PROTOCOL_VERSION - PROTOCOL_OLDEST + 1] = {
	{ .version = 1, .claim = claim_1, .longest_lease = 15 },
	{ .version = 2, .claim = claim_2, .longest_lease = INT64_MAX, .tells_draining = true },
};

const struct protocol *protocol_find(int64_t version)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (protocols[i].version == version)
			return &protocols[i];
	return NULL;
}

int64_t protocol_lease(int64_t version, int64_t lease_us)
{
	const struct protocol *protocol = protocol_find(version);
	int64_t seconds = lease_us / SECOND_US;

	return protocol && seconds > protocol->longest_lease ? protocol->longest_lease : seconds;
}

bool protocol_tells_draining(int64_t version)
{
	const struct protocol *protocol = protocol_find(version);

	return protocol && protocol->tells_draining;
}

/* What is not told is null, so that nobody takes silence for "none". */
static json_t *tables_told(const json_t *tables)
{
	json_t *told = json_is_object(tables) ? json_object() : json_null();
	const char *dataset;
	json_t *table;

	json_object_foreach ((json_t *)(uintptr_t)tables, dataset, table)
		json_object_set_new(told, dataset,
			json_pack("{s:O?, s:O?, s:O?}", "columns", json_object_get(table, "columns"), "rows",
				json_object_get(table, "rows"), "label", json_object_get(table, "label")));
	return told;
}

static void check_claim_2(const json_t *facts, json_t *faults)
{
	const char *instance = json_text_or(facts, "instance", NULL), *dataset;
	const json_t *tables = json_object_get(facts, "tables");
	json_t *table;

	if (instance && !uuid_is_valid(instance))
		fields_fault(faults, "instance", "must be a UUID in lower case");
	if (tables && json_dumpb(tables, NULL, 0, JSON_COMPACT) > TABLES_BYTES)
		fields_fault(faults, "tables", "may have at most %d KB in all", TABLES_BYTES / 1024);
	json_object_foreach ((json_t *)(uintptr_t)tables, dataset, table)
		if (!json_lists(json_object_get(facts, "datasets"), dataset))
			fields_fault(faults, "tables", "names \"%s\", which is none of the datasets", dataset);
}

int protocol_claim(const json_t *given, json_t **out, struct rounds_error *error)
{
	const struct protocol *protocol = protocol_find(json_integer_or(given, "protocol", PROTOCOL_OLDEST));
	unsigned long before = json_shortages();
	json_auto_t *faults = json_array(), *facts = NULL;

	if (!protocol)
		return error_set(error, ERROR_UPGRADE,
			"this server speaks protocol versions %d to %d (rounds-site %s); this site speaks version %lld",
			PROTOCOL_OLDEST, PROTOCOL_VERSION, ROUNDS_VERSION,
			(long long)json_integer_or(given, "protocol", 0));
	facts = fields_apply(protocol->claim, given, "", faults);
	if (facts)
		check_claim_2(facts, faults);
	json_object_set_new(facts, "tables", tables_told(json_object_get(facts, "tables")));
	if (json_shortages() != before)
		return error_no_memory(error);
	if (json_array_size(faults))
		return fields_error(faults, error);
	*out = json_incref(facts);
	return 0;
}

/* What a site is told of its task, where it stands, and the first version that has it. */
enum source { OF_TASK, OF_JOB, OF_SPEC, SOURCES };

static const struct {
	const char *name;
	enum source source;
	const char *member;
	int since;
} task_members[] = {
	{ "id", OF_TASK, "id", 1 }, { "job", OF_TASK, "job", 1 }, { "job_name", OF_JOB, "name", 1 },
	{ "round", OF_TASK, "round", 1 }, { "rounds", OF_JOB, "rounds", 1 }, { "kind", OF_TASK, "kind", 1 },
	{ "algorithm", OF_TASK, "algorithm", 1 }, { "share", OF_SPEC, "share", 1 },
	{ "dataset", OF_SPEC, "dataset", 1 }, { "executor", OF_SPEC, "executor", 1 },
	{ "trainer", OF_SPEC, "trainer", 1 }, { "seed", OF_SPEC, "seed", 1 },
	{ "timeout_seconds", OF_SPEC, "task_timeout_seconds", 1 },
	{ "submitted_by", OF_JOB, "submitted_by", 2 }, /* for the site's own log */
};

/* Before there were files by name there were two, and the size of one. */
static void add_older_files(json_t *told, const json_t *files)
{
	struct artifact model = { 0 }, control = { 0 };
	bool has_model = artifact_find(files, "model", &model),
	     has_control = artifact_find(files, "control", &control);

	json_object_set_new(told, "model", has_model ? json_string(model.digest) : json_null());
	json_object_set_new(
		told, "model_size", has_model && model.size >= 0 ? json_integer(model.size) : json_null());
	json_object_set_new(told, "control", has_control ? json_string(control.digest) : json_null());
}

json_t *protocol_task(int64_t version, const json_t *task, const json_t *job)
{
	const json_t *sources[SOURCES] = {
		[OF_TASK] = task, [OF_JOB] = job, [OF_SPEC] = json_object_get(job, "spec")
	};
	json_t *told = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(task_members); i++)
		if (version >= task_members[i].since)
			json_object_set(told, task_members[i].name,
				json_object_get(sources[task_members[i].source], task_members[i].member));
	json_object_set_new(
		told, "lease_seconds", json_integer(protocol_lease(version, json_integer_or(task, "lease_us", 0))));
	if (version == 1)
		add_older_files(told, json_object_get(task, "files"));
	else
		json_object_set_new(told, "files", json_deep_copy(json_object_get(task, "files")));
	return told;
}

json_t *protocol_result_files(const json_t *body)
{
	json_t *files = json_object_get(body, "files"), *update = json_object_get(body, "update");

	if (files)
		return json_incref(files);
	if (!update || json_is_null(update))
		return json_object();
	return json_pack("{s:{s:O, s:O*}}", "update", "digest", update, "data", json_object_get(body, "update_data"));
}

json_t *protocol_result_answer(const json_t *body, const json_t *task, const json_t *files, double distance)
{
	const char *update = artifact_digest(files, "update");
	json_t *answer = json_pack("{s:b, s:O, s:O, s:o}", "accepted", 1, "task", json_object_get(task, "id"),
		"round", json_object_get(task, "round"), "distance",
		update ? json_number_or_null(distance) : json_null());

	if (json_object_get(body, "files"))
		json_object_set(answer, "files", (json_t *)(uintptr_t)files);
	else
		json_object_set_new(answer, "update", update ? json_string(update) : json_null());
	return answer;
}

void protocol_result_fault(const json_t *body, struct rounds_error *error)
{
	if (json_object_get(body, "files") || strncmp(error->field, "files", 5) != 0)
		return;
	snprintf(error->field, sizeof(error->field), "%s",
		!strcmp(error->field, "files.update.data") ? "update_data" : "update");
}
