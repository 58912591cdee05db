#include "client/trainers/names.h"

#include "common/digest.h"
#include "common/failure.h"
#include "common/json.h"

#include <string.h>

/* A new reference; NULL without memory. */
static json_t *name_by_digest(const char *column, const char *value)
{
	scoped(digest_stream_free) struct digest_stream *stream = digest_stream_new();
	struct digest digest;

	if (!stream)
		return NULL;
	digest_stream_add(stream, column, strlen(column) + 1);
	digest_stream_add(stream, value, strlen(value));
	digest_stream_finish(stream, &digest);
	return json_sprintf(
		"%s=#%02x%02x%02x%02x", column, digest.bytes[0], digest.bytes[1], digest.bytes[2], digest.bytes[3]);
}

int names_add_column(json_t *names, const char *column, struct rounds_error *error)
{
	return json_array_append_new(names, json_string(column)) ? error_no_memory(error) : 0;
}

int names_add_values(
	json_t *names, const char *column, const json_t *values, const json_t *listed, struct rounds_error *error)
{
	json_auto_t *seen = json_object();
	size_t i;
	json_t *value;

	json_array_foreach (values, i, value) {
		const char *text = json_string_value(value);
		json_auto_t *name = json_lists(listed, text) ? json_sprintf("%s=%s", column, text)
							     : name_by_digest(column, text);

		if (!name)
			return error_no_memory(error);
		if (json_object_get(seen, json_string_value(name)))
			return failure_error(error, FAILURE_CATEGORY, "path", 0, 0,
				"two values of the column \"%.100s\" have the same short name: the job must list them "
				"(trainer.categories, or trainer.classes for the label)",
				column);
		if (json_object_set_new(seen, json_string_value(name), json_true()) || json_array_append(names, name))
			return error_no_memory(error);
	}
	return 0;
}
