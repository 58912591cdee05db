#include "common/config.h"

#include "common/json.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void config_flag(const struct field *field, char flag[80])
{
	snprintf(flag, 80, "%s", field->name);
	for (char *c = flag; *c; c++)
		if (*c == '_')
			*c = '-';
}

static bool is_scalar(const struct field *field)
{
	return field->type != FIELD_OBJECT && field->type != FIELD_MAP;
}

/* Text from a flag or a variable as the JSON that the table's check expects; lists are comma-separated. */
static json_t *value_from_text(const struct field *field, const char *text)
{
	json_t *value = NULL;

	if (field->type == FIELD_NAMES || field->type == FIELD_TEXTS) {
		value = json_array();
		while (*text) {
			size_t length = strcspn(text, ",");

			json_array_append_new(value, json_text_n(text, length));
			text += length + (text[length] == ',');
		}
		return value;
	}
	if (field->type == FIELD_BOOL || field->type == FIELD_INTEGER || field->type == FIELD_NUMBER)
		value = json_loads(text, JSON_DECODE_ANY, NULL);
	return value ? value : json_text(text);
}

static const struct field *field_of_flag(const struct field *fields, const char *flag, size_t length)
{
	for (; fields->name; fields++) {
		char name[80];

		config_flag(fields, name);
		if (is_scalar(fields) && strlen(name) == length && !strncmp(name, flag, length))
			return fields;
	}
	return NULL;
}

static bool is_bool(const char *text)
{
	return !strcmp(text, "true") || !strcmp(text, "false");
}

static int read_flag(const struct field *fields, int argc, char **argv, int *at, json_t *given, const char **file,
	struct rounds_error *error)
{
	const char *flag = argv[*at] + 2;
	const char *equals = strchr(flag, '=');
	size_t length = equals ? (size_t)(equals - flag) : strlen(flag);
	bool is_file = length == 6 && !strncmp(flag, "config", 6);
	const struct field *field = is_file ? NULL : field_of_flag(fields, flag, length);
	const char *text = equals ? equals + 1 : NULL;

	if (!field && !is_file)
		return error_set(error, ERROR_INVALID, "unknown option --%.*s (see --help)", (int)length, flag);
	if (!text && field && field->type == FIELD_BOOL)
		text = *at + 1 < argc && is_bool(argv[*at + 1]) ? argv[++*at] : "true";
	if (!text && *at + 1 >= argc)
		return error_set(error, ERROR_INVALID, "--%s needs a value", flag);
	if (!text)
		text = argv[++*at];
	if (is_file)
		*file = text;
	else
		json_object_set_new(given, field->name, value_from_text(field, text));
	return 0;
}

static void read_environment(const struct field *fields, json_t *given)
{
	for (; fields->name; fields++) {
		char name[80];

		snprintf(name, sizeof(name), "ROUNDS_%s", fields->name);
		for (char *c = name; *c; c++)
			*c = (char)toupper((unsigned char)*c);
		if (is_scalar(fields) && getenv(name))
			json_object_set_new(given, fields->name, value_from_text(fields, getenv(name)));
	}
}

int config_read(const struct field *fields, int argc, char **argv, int first, json_t *words, json_t **config,
	struct rounds_error *error)
{
	json_auto_t *flags = json_object(), *all = NULL, *faults = json_array();
	const char *file = getenv("ROUNDS_CONFIG");

	for (int i = first; i < argc; i++) {
		if (!strncmp(argv[i], "--", 2) && argv[i][2]) {
			if (read_flag(fields, argc, argv, &i, flags, &file, error))
				return -1;
		} else if (words) {
			json_array_append_new(words, json_text(argv[i]));
		} else {
			return error_set(error, ERROR_INVALID, "unexpected argument \"%s\" (see --help)", argv[i]);
		}
	}
	if (file && json_parse_file(file, &all, error))
		return -1;
	if (file && !json_is_object(all))
		return error_set(error, ERROR_INVALID, "%s: must hold a JSON object", file);
	if (!all)
		all = json_object();
	read_environment(fields, all);
	json_object_update(all, flags);
	*config = fields_apply(fields, all, "", faults);
	return *config ? 0 : fields_error(faults, error);
}

void config_help(const struct field *fields)
{
	for (; fields->name; fields++) {
		char flag[80];

		config_flag(fields, flag);
		if (is_scalar(fields))
			printf("  --%-24s %s", flag, fields->help);
		else
			printf("  (file) %-19s %s", fields->name, fields->help);
		if (fields->fallback)
			printf(" [%s]", fields->fallback);
		putchar('\n');
	}
}
