#include "common/json.h"

#include "common/file.h"
#include "common/log.h"
#include "common/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_LIMIT = 64, FILE_LIMIT = 16 << 20 };

static _Thread_local unsigned long shortages;

static void *allocate(size_t size)
{
	void *memory = malloc(size);

	shortages += !memory;
	return memory;
}

/* Before anything makes JSON. What jansson allocates is freed as all else is. */
__attribute__((constructor)) static void count_shortages(void)
{
	json_set_alloc_funcs(allocate, free);
}

unsigned long json_shortages(void)
{
	return shortages;
}

/* jansson's own limit is 2,048 levels; ours is checked before it recurses. */
static bool too_deep(const char *text, size_t size)
{
	int depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < size; i++) {
		if (in_string) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				in_string = false;
		} else if (text[i] == '"') {
			in_string = true;
		} else if (text[i] == '{' || text[i] == '[') {
			if (++depth > DEPTH_LIMIT)
				return true;
		} else if (text[i] == '}' || text[i] == ']') {
			depth--;
		}
	}
	return false;
}

int json_parse(const char *text, size_t size, json_t **value, struct rounds_error *error)
{
	json_error_t detail;

	if (too_deep(text, size))
		return error_set(error, ERROR_INVALID, "JSON is nested deeper than %d levels", DEPTH_LIMIT);
	*value = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &detail);
	if (!*value)
		return error_set(error, ERROR_INVALID, "not valid JSON: line %d, column %d: %s", detail.line,
			detail.column, detail.text);
	return 0;
}

int json_parse_file(const char *path, json_t **value, struct rounds_error *error)
{
	scoped(text_free) char *text = NULL;
	size_t size;

	if (file_read(path, FILE_LIMIT, &text, &size, error))
		return -1;
	if (json_parse(text, size, value, error))
		return error_prefix(error, "%s", path);
	return 0;
}

char *json_canonical(const json_t *value)
{
	return json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

static int member(
	const json_t *object, const char *key, bool required, const json_t **out, struct rounds_error *error)
{
	if (!json_is_object(object))
		return error_set(error, ERROR_INVALID, "a JSON object is needed");
	*out = json_object_get(object, key);
	if (json_is_null(*out))
		*out = NULL;
	if (!*out && required)
		return error_field(error, key, "is required");
	return 0;
}

json_t *json_text_n(const char *text, size_t size)
{
	scoped(text_free) char *whole = NULL;

	if (text_is_utf8(text, size))
		return json_stringn(text, size);
	whole = text_new_repaired(text, size);
	return whole ? json_string(whole) : NULL;
}

json_t *json_text(const char *text)
{
	return json_text_n(text, strlen(text));
}

json_t *json_pack_or_say(const char *file, int line, const char *format, ...)
{
	json_error_t detail;
	va_list arguments;
	json_t *value;
	char place[120];

	va_start(arguments, format);
	value = json_vpack_ex(&detail, 0, format, arguments);
	va_end(arguments);
	if (!value) {
		snprintf(place, sizeof(place), "%s:%d", file, line);
		log_error("a message could not be made", "at", place, "reason", detail.text, NULL);
	}
	return value;
}

int json_get_text(const json_t *object, const char *key, bool required, const char **out, struct rounds_error *error)
{
	const json_t *value = NULL;

	if (member(object, key, required, &value, error))
		return -1;
	if (!value)
		return 0;
	/* A NUL inside would end the text early for everyone who reads it as C. */
	if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
		return error_field(error, key, "must be text");
	*out = json_string_value(value);
	return 0;
}

int json_get_integer(const json_t *object, const char *key, bool required, int64_t min, int64_t max, int64_t *out,
	struct rounds_error *error)
{
	const json_t *value = NULL;

	if (member(object, key, required, &value, error))
		return -1;
	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
		return error_field(
			error, key, "must be a whole number from %lld to %lld", (long long)min, (long long)max);
	*out = json_integer_value(value);
	return 0;
}

int json_get_bool(const json_t *object, const char *key, bool required, bool *out, struct rounds_error *error)
{
	const json_t *value = NULL;

	if (member(object, key, required, &value, error))
		return -1;
	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return error_field(error, key, "must be true or false");
	*out = json_is_true(value);
	return 0;
}

int json_get_number(const json_t *object, const char *key, bool required, double *out, struct rounds_error *error)
{
	const json_t *value = NULL;

	if (member(object, key, required, &value, error))
		return -1;
	if (!value)
		return 0;
	if (!json_is_number(value))
		return error_field(error, key, "must be a number");
	*out = json_number_value(value);
	return 0;
}

int json_only(const json_t *object, const char *const *names, struct rounds_error *error)
{
	const char *given;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)object, given, value) {
		const char *const *name = names;

		while (*name && strcmp(*name, given) != 0)
			name++;
		if (!*name)
			return error_field(error, given, "is not known here");
	}
	return 0;
}

const char *json_text_or(const json_t *object, const char *key, const char *fallback)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : fallback;
}

int64_t json_integer_or(const json_t *object, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? json_integer_value(value) : fallback;
}

double json_number_or(const json_t *object, const char *key, double fallback)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : fallback;
}

bool json_bool_or(const json_t *object, const char *key, bool fallback)
{
	const json_t *value = json_object_get(object, key);

	return json_is_boolean(value) ? json_is_true(value) : fallback;
}

bool json_lists(const json_t *array, const char *text)
{
	size_t i;
	json_t *item;

	json_array_foreach (array, i, item)
		if (json_is_string(item) && !strcmp(json_string_value(item), text))
			return true;
	return false;
}

json_t *json_set_of(const json_t *array)
{
	json_t *set = json_object(), *item;
	size_t i;

	json_array_foreach (array, i, item)
		if (json_is_string(item))
			json_object_set_new(set, json_string_value(item), json_true());
	return set;
}

json_t *json_number_or_null(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}
