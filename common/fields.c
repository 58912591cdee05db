#include "common/fields.h"

#include "common/digest.h"
#include "common/json.h"
#include "common/text.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_PATTERN   "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
#define DIGEST_PATTERN "^sha256:[0-9a-f]{64}$"

bool name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (length < 1 || length > 63 || !isalnum((unsigned char)name[0]))
		return false;
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c > 126 || (!isalnum((unsigned char)*c) && !strchr("._-", *c)))
			return false;
	return true;
}

void fields_fault(json_t *faults, const char *path, const char *format, ...)
{
	char message[400];
	va_list arguments;

	va_start(arguments, format);
	text_print_from(message, sizeof(message), format, arguments);
	va_end(arguments);
	json_array_append_new(faults, json_pack("{s:s, s:s}", "field", path, "message", message));
}

int fields_error(const json_t *faults, struct rounds_error *error)
{
	size_t count = json_array_size(faults), used = 0;
	char text[sizeof(error->message)] = "";

	for (size_t i = 0; i < count; i++) {
		const json_t *fault = json_array_get(faults, i);
		const char *field = json_text_or(fault, "field", ""),
			   *message = json_text_or(fault, "message", "is wrong");
		size_t needed = strlen(message) + (i > 0 ? strlen(field) + 3 : 0);

		/* Room is left for how many there is none for. */
		if (i > 0 && used + needed + 32 > sizeof(text)) {
			text_print(text + used, sizeof(text) - used, " (and %zu more)", count - i);
			break;
		}
		text_print(text + used, sizeof(text) - used, "%s%s%s%s", i > 0 ? "; " : "", i > 0 ? field : "",
			i > 0 && *field ? " " : "", message);
		used = strlen(text);
	}
	return error_field(error, json_text_or(json_array_get(faults, 0), "field", ""), "%s", text);
}

static struct variant variant_at(const struct field *field, size_t index)
{
	return field->variant ? field->variant(index) : (struct variant){ 0 };
}

/* The tables whose fields stand beside this one, by index from 0; NULL behind the last. */
static const struct field *table_beside(const struct field *field, size_t index)
{
	static const struct field none[] = { { NULL } };
	struct variant variant = variant_at(field, index);

	if (field->type == FIELD_TABLE)
		return index == 0 ? field->nested : NULL;
	if (!variant.name)
		return NULL;
	for (size_t i = 0; i < index; i++)
		if (variant_at(field, i).fields == variant.fields)
			return none; /* it was there already */
	return variant.fields ? variant.fields : none;
}

const struct field *fields_find(const struct field *fields, const char *name)
{
	const struct field *table, *found;

	for (; fields->name; fields++) {
		if (fields->type != FIELD_TABLE && !strcmp(fields->name, name))
			return fields;
		for (size_t i = 0; (table = table_beside(fields, i)); i++)
			if ((found = fields_find(table, name)))
				return found;
	}
	return NULL;
}

/* The field's i-th choice; NULL behind the last. */
static const char *choice_at(const struct field *field, size_t index)
{
	if (field->variant)
		return field->variant(index).name;
	return index < FIELD_CHOICES ? field->choices[index] : NULL;
}

static bool is_clean_text(const json_t *value)
{
	return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static void check_number(const struct field *field, const json_t *value, const char *path, json_t *faults)
{
	bool whole = field->type == FIELD_INTEGER;
	double number = json_number_value(value);

	if (whole ? !json_is_integer(value) : !json_is_number(value))
		fields_fault(faults, path, "must be a %snumber", whole ? "whole " : "");
	else if (number < field->min || number > field->max || (field->exclusive && number <= field->min))
		fields_fault(faults, path,
			whole ? "must be %s %.0f and at most %.0f, not %.0f"
			      : "must be %s %.15g and at most %.15g, not %.15g",
			field->exclusive ? "greater than" : "at least", field->min, field->max, number);
}

static void check_text(const struct field *field, const json_t *value, const char *path, json_t *faults)
{
	const char *text = json_string_value(value), *choice;
	char allowed[400] = "";

	if (!is_clean_text(value)) {
		fields_fault(faults, path, "must be text");
		return;
	}
	for (size_t i = 0; (choice = choice_at(field, i)); i++) {
		if (!strcmp(choice, text))
			return;
		size_t used = strlen(allowed);
		snprintf(allowed + used, sizeof(allowed) - used, "%s\"%s\"", i ? ", " : "", choice);
	}
	if (allowed[0])
		fields_fault(faults, path, "must be one of %s", allowed);
	else if ((double)strlen(text) < field->min || (double)strlen(text) > field->max)
		fields_fault(faults, path, "must have %g to %g characters", field->min, field->max);
}

static void check_list(const struct field *field, const json_t *value, const char *path, json_t *faults)
{
	size_t count = json_array_size(value);
	bool names = field->type == FIELD_NAMES;

	if (!json_is_array(value)) {
		fields_fault(faults, path, "must be an array of %s", names ? "names" : "text");
		return;
	}
	if ((double)count < field->min || (double)count > field->max)
		fields_fault(faults, path, "must have %g to %g entries, not %zu", field->min, field->max, count);
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(value, i);

		if (!is_clean_text(item) || (names && !name_is_valid(json_string_value(item)))) {
			fields_fault(faults, path, "entry %zu must be %s", i + 1,
				names ? "a name of 1 to 63 letters, digits, '.', '_' or '-'" : "text");
			return;
		}
		for (size_t j = 0; names && j < i; j++)
			if (json_equal(item, json_array_get(value, j))) {
				fields_fault(faults, path, "names \"%s\" twice", json_string_value(item));
				return;
			}
	}
}

static json_t *check_map(const struct field *field, const json_t *value, const char *path, json_t *faults)
{
	json_t *copy = json_object();
	const char *name;
	json_t *item;

	if (!json_is_object(value))
		fields_fault(faults, path, "must be an object");
	json_object_foreach ((json_t *)(uintptr_t)value, name, item) {
		char below[160];

		text_print(below, sizeof(below), "%s.%s", path, name);
		if (!name_is_valid(name))
			fields_fault(faults, below, "is not a name of 1 to 63 letters, digits, '.', '_' or '-'");
		json_object_set_new(copy, name, fields_apply(field->nested, item, below, faults));
	}
	return copy;
}

/* The value to store: checked, with defaults inside. */
static json_t *check_value(const struct field *field, json_t *value, const char *path, json_t *faults)
{
	struct digest digest;

	switch (field->type) {
	case FIELD_BOOL:
		if (!json_is_boolean(value))
			fields_fault(faults, path, "must be true or false");
		break;
	case FIELD_INTEGER:
	case FIELD_NUMBER:
		check_number(field, value, path, faults);
		break;
	case FIELD_TEXT:
		check_text(field, value, path, faults);
		break;
	case FIELD_NAME:
		if (!is_clean_text(value) || !name_is_valid(json_string_value(value)))
			fields_fault(faults, path, "must be a name of 1 to 63 letters, digits, '.', '_' or '-'");
		break;
	case FIELD_DIGEST:
		if (!is_clean_text(value) || !digest_parse(json_string_value(value), &digest))
			fields_fault(faults, path, "must be sha256: and 64 hexadecimal digits");
		break;
	case FIELD_NAMES:
	case FIELD_TEXTS:
		check_list(field, value, path, faults);
		break;
	case FIELD_OBJECT:
		if (field->nested)
			return fields_apply(field->nested, value, path, faults);
		if (!json_is_object(value))
			fields_fault(faults, path, "must be an object");
		break;
	case FIELD_MAP:
		return check_map(field, value, path, faults);
	case FIELD_TABLE:
		break;
	}
	return json_incref(value);
}

static void unknown_names(const struct field *fields, const json_t *value, const char *prefix, json_t *faults)
{
	const char *name;
	json_t *item;

	json_object_foreach ((json_t *)(uintptr_t)value, name, item) {
		char below[160];

		if (fields_find(fields, name))
			continue;
		text_print(below, sizeof(below), "%s%s", prefix, name);
		fields_fault(faults, below, "is not a known field");
	}
}

static void set_default(const struct field *field, json_t *copy)
{
	if (field->fallback)
		json_object_set_new(copy, field->name, json_loads(field->fallback, JSON_DECODE_ANY, NULL));
}

static void apply_field(
	const struct field *field, const json_t *value, const char *prefix, json_t *copy, json_t *faults)
{
	json_t *given = json_object_get(value, field->name);
	char below[160];

	text_print(below, sizeof(below), "%s%s", prefix, field->name);
	if (given && !json_is_null(given))
		json_object_set_new(copy, field->name, check_value(field, given, below, faults));
	else if (field->required)
		fields_fault(faults, below, "is required: %s", field->help);
	else
		set_default(field, copy);
}

static void apply_table(
	const struct field *fields, const json_t *value, const char *prefix, json_t *copy, json_t *faults)
{
	const struct field *table;

	for (const struct field *field = fields; field->name; field++) {
		if (field->type != FIELD_TABLE)
			apply_field(field, value, prefix, copy, faults);
		for (size_t i = 0; (table = table_beside(field, i)); i++)
			apply_table(table, value, prefix, copy, faults);
	}
}

json_t *fields_apply(const struct field *fields, const json_t *value, const char *path, json_t *faults)
{
	size_t before = json_array_size(faults);
	json_t *copy = json_object();
	char prefix[160];

	text_print(prefix, sizeof(prefix), "%s%s", path, *path ? "." : "");
	if (!json_is_object(value)) {
		fields_fault(faults, path, "must be an object");
		json_decref(copy);
		return NULL;
	}
	unknown_names(fields, value, prefix, faults);
	apply_table(fields, value, prefix, copy, faults);
	if (json_array_size(faults) == before)
		return copy;
	json_decref(copy);
	return NULL;
}

json_t *fields_pick(const struct field *fields, const json_t *value)
{
	json_t *picked = json_object();

	for (const struct field *field = fields; field && field->name; field++) {
		json_t *given = json_object_get(value, field->name);

		if (given)
			json_object_set(picked, field->name, given);
		else
			set_default(field, picked);
	}
	return picked;
}

static json_t *list_schema(const struct field *field)
{
	json_t *item = field->type == FIELD_NAMES ? json_pack("{s:s, s:s}", "type", "string", "pattern", NAME_PATTERN)
						  : json_pack("{s:s}", "type", "string");

	return json_pack("{s:s, s:o, s:i, s:i, s:b}", "type", "array", "items", item, "minItems", (int)field->min,
		"maxItems", (int)field->max, "uniqueItems", field->type == FIELD_NAMES);
}

static json_t *text_schema(const struct field *field)
{
	const char *choice;
	json_t *choices;

	if (!choice_at(field, 0))
		return json_pack("{s:s, s:i, s:i}", "type", "string", "minLength", (int)field->min, "maxLength",
			(int)field->max);
	choices = json_array();
	for (size_t i = 0; (choice = choice_at(field, i)); i++)
		json_array_append_new(choices, json_string(choice));
	return json_pack("{s:s, s:o}", "type", "string", "enum", choices);
}

static json_t *type_schema(const struct field *field)
{
	switch (field->type) {
	case FIELD_BOOL:
		return json_pack("{s:s}", "type", "boolean");
	case FIELD_INTEGER:
		return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)field->min, "maximum",
			(json_int_t)field->max);
	case FIELD_NUMBER:
		return json_pack("{s:s, s:f, s:f}", "type", "number",
			field->exclusive ? "exclusiveMinimum" : "minimum", field->min, "maximum", field->max);
	case FIELD_TEXT:
		return text_schema(field);
	case FIELD_NAME:
		return json_pack("{s:s, s:s}", "type", "string", "pattern", NAME_PATTERN);
	case FIELD_DIGEST:
		return json_pack("{s:s, s:s}", "type", "string", "pattern", DIGEST_PATTERN);
	case FIELD_NAMES:
	case FIELD_TEXTS:
		return list_schema(field);
	case FIELD_OBJECT:
		return field->nested ? fields_schema(field->nested) : json_pack("{s:s}", "type", "object");
	case FIELD_MAP:
		return json_pack(
			"{s:s, s:o}", "type", "object", "additionalProperties", fields_schema(field->nested));
	case FIELD_TABLE:
		break;
	}
	return json_object();
}

static void add_schema(const struct field *field, json_t *properties, json_t *required)
{
	json_t *schema = type_schema(field);

	json_object_set_new(schema, "description", json_string(field->help));
	if (field->fallback)
		json_object_set_new(schema, "default", json_loads(field->fallback, JSON_DECODE_ANY, NULL));
	json_object_set_new(properties, field->name, schema);
	if (field->required)
		json_array_append_new(required, json_string(field->name));
}

static void add_schemas(const struct field *fields, json_t *properties, json_t *required)
{
	const struct field *table;

	for (const struct field *field = fields; field->name; field++) {
		if (field->type != FIELD_TABLE)
			add_schema(field, properties, required);
		for (size_t i = 0; (table = table_beside(field, i)); i++)
			add_schemas(table, properties, required);
	}
}

json_t *fields_schema(const struct field *fields)
{
	json_t *properties = json_object(), *required = json_array();

	add_schemas(fields, properties, required);
	return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required", required,
		"additionalProperties", 0);
}
