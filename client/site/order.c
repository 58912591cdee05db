#include "client/site/order.h"

#include "common/artifact.h"
#include "common/fields.h"
#include "common/json.h"

#include <string.h>

/* Every member that names something. A name (letters, digits, `.`, `_`, `-`; not the first) cannot leave a directory. */
static const struct {
	const char *member;
	bool required;
	bool (*is_valid)(const char *text);
} names[] = {
	{ "id", true, name_is_valid },
	{ "job", true, name_is_valid },
	{ "kind", true, name_is_valid },
	{ "dataset", false, name_is_valid },
	{ "executor", false, name_is_valid },
};

static const struct {
	const char *member;
	int64_t most;
} numbers[] = {
	{ "lease_seconds", ORDER_TIME_LIMIT },
	{ "timeout_seconds", ORDER_TIME_LIMIT },
	{ "round", INT64_MAX },
	{ "rounds", INT64_MAX },
};

/* jansson keeps a NUL inside text; what follows it would go unseen. */
static bool is_whole(const json_t *text)
{
	return json_is_string(text) && strlen(json_string_value(text)) == json_string_length(text);
}

/* A server of protocol 1 names at most two files, each by a member of its own. */
static int put_older_file(json_t *files, const json_t *order, const char *name)
{
	bool is_model = !strcmp(name, "model");
	json_t *digest = json_object_get(order, name);

	if (!digest || json_is_null(digest))
		return 0;
	return json_object_set_new(files, name,
		json_pack("{s:O, s:O*, s:O*}", "digest", digest, "size",
			is_model ? json_object_get(order, "model_size") : NULL, "data",
			is_model ? json_object_get(order, "model_data") : NULL));
}

static int check_files(json_t *order, struct rounds_error *error)
{
	if (!json_object_get(order, "files")) {
		json_auto_t *files = json_object();

		if (put_older_file(files, order, "model") || put_older_file(files, order, "control") ||
			json_object_set(order, "files", files))
			return error_no_memory(error);
	}
	return artifacts_check(json_object_get(order, "files"), "files", error);
}

int order_check(json_t *order, struct rounds_error *error)
{
	if (!json_is_object(order))
		return error_set(error, ERROR_INVALID, "an order must be an object");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const json_t *value = json_object_get(order, names[i].member);

		if ((!value || json_is_null(value)) && !names[i].required)
			continue;
		if (!is_whole(value) || !names[i].is_valid(json_string_value(value)))
			return error_field(error, names[i].member, "is not what such a name may be");
	}
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const json_t *value = json_object_get(order, numbers[i].member);
		int64_t number = json_integer_value(value);

		if (value && !json_is_null(value) &&
			(!json_is_integer(value) || number < 0 || number > numbers[i].most))
			return error_field(error, numbers[i].member, "is not a number that can be meant");
	}
	return check_files(order, error);
}
