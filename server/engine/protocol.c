#include "server/engine/protocol.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/uuid.h"

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
	{ "tables", FIELD_MAP, "What it tells of its datasets", .nested = table_fields }
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
	json_auto_t *faults = json_array(), *facts = NULL;

	if (!protocol)
		return error_set(error, ERROR_UPGRADE,
			"this server speaks protocol versions %d to %d (rounds-site %s); this site speaks version %lld",
			PROTOCOL_OLDEST, PROTOCOL_VERSION, ROUNDS_VERSION,
			(long long)json_integer_or(given, "protocol", 0));
	facts = fields_apply(protocol->claim, given, "", faults);
	if (facts)
		check_claim_2(facts, faults);
	if (json_array_size(faults))
		return fields_error(faults, error);
	if (json_object_set_new(facts, "tables", tables_told(json_object_get(facts, "tables"))))
		return error_no_memory(error);
	*out = json_incref(facts);
	return 0;
}
