#include "client/site/order.h"

#include "common/digest.h"
#include "common/fields.h"
#include "common/json.h"

#include <string.h>

static bool is_digest(const char *text)
{
	struct digest digest;

	return digest_parse(text, &digest);
}

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
	{ "model", false, is_digest },
	{ "control", false, is_digest },
};

static const struct {
	const char *member;
	int64_t most;
} numbers[] = {
	{ "lease_seconds", ORDER_TIME_LIMIT },
	{ "timeout_seconds", ORDER_TIME_LIMIT },
	{ "model_size", INT64_MAX },
	{ "round", INT64_MAX },
	{ "rounds", INT64_MAX },
};

/* jansson keeps a NUL inside text; what follows it would go unseen. */
static bool is_whole(const json_t *text)
{
	return json_is_string(text) && strlen(json_string_value(text)) == json_string_length(text);
}

int order_check(const json_t *order, struct rounds_error *error)
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
	return 0;
}
