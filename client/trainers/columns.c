#include "client/trainers/columns.h"

#include "common/failure.h"
#include "common/json.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

void columns_free(struct dataset_column *header, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(header[i].name);
	free(header);
}

/* What pandas calls a column without a name when it reads one and writes it again. */
static bool has_name(const char *name)
{
	return *name && strncmp(name, "Unnamed: ", 9) != 0;
}

static size_t find(const struct record *header, const char *name)
{
	size_t at = 0;

	while (at < header->count && strcmp(header->fields[at], name) != 0)
		at++;
	return at;
}

/* A name of site.json that differs from one of the header only in how it is written. */
static const char *hint(const struct record *header, const char *name)
{
	for (size_t i = 0; i < header->count; i++)
		if (!strcasecmp(header->fields[i], name))
			return " (there is one that differs in capital letters)";
	return "";
}

static int refuse_missing(const struct record *header, const char *what, const char *name, struct rounds_error *error)
{
	return failure_error(error, FAILURE_COLUMN, "path", 1, 0,
		"the dataset's %s names \"%.100s\", which is no column of the table%s: correct it in site.json", what,
		name, hint(header, name));
}

static bool lists_texts(const json_t *values)
{
	size_t i, j;
	json_t *value;

	json_array_foreach (values, i, value)
		for (j = 0; j <= i; j++)
			if (!json_is_string(value) || (j < i && json_equal(value, json_array_get(values, j))))
				return false;
	return json_array_size(values) > 0;
}

/* Whatever site.json says of columns, it says of columns that are there. */
static int check_description(const json_t *description, const struct record *header, struct rounds_error *error)
{
	const char *label = json_text_or(description, "label", ""), *name;
	json_t *values;
	size_t i;

	if (!*label)
		return failure_error(error, FAILURE_LABEL, "path", 1, 0,
			"the dataset names no column to be predicted: say its `label` in site.json");
	if (find(header, label) == header->count)
		return failure_error(error, FAILURE_LABEL, "path", 1, 0,
			"there is no label column \"%.100s\"%s: correct the dataset's `label` in site.json, or put a "
			"header above the table",
			label, hint(header, label));
	json_array_foreach (json_object_get(description, "ignore"), i, values)
		if (find(header, json_string_value(values)) == header->count)
			return refuse_missing(header, "`ignore`", json_string_value(values), error);
	json_object_foreach (json_object_get(description, "categories"), name, values) {
		if (find(header, name) == header->count)
			return refuse_missing(header, "`categories`", name, error);
		if (!lists_texts(values))
			return failure_error(error, FAILURE_COLUMN, "path", 0, 0,
				"the dataset's `categories` must list the values of \"%.100s\", different texts",
				name);
	}
	return 0;
}

static enum column_role role_of(const json_t *description, const struct record *header, size_t at)
{
	const char *name = header->fields[at];

	if (!has_name(name))
		return at == 0 ? COLUMN_INDEX : COLUMN_EMPTY;
	if (!strcmp(name, json_text_or(description, "label", "")))
		return COLUMN_LABEL;
	if (json_lists(json_object_get(description, "ignore"), name))
		return COLUMN_IGNORED;
	return json_object_get(json_object_get(description, "categories"), name) ? COLUMN_CATEGORY : COLUMN_NUMBER;
}

static int take_name(const json_t *description, const struct record *header, size_t at, size_t named,
	struct dataset *dataset, struct rounds_error *error)
{
	const char *name = header->fields[at];
	struct dataset_column *column = &dataset->header[at];
	size_t first = find(header, name);

	*column = (struct dataset_column){ .name = strdup(name), .role = role_of(description, header, at) };
	if (!column->name)
		return error_no_memory(error);
	dataset->header_count = at + 1;
	if (column->role == COLUMN_EMPTY && at < named)
		return failure_error(error, FAILURE_HEADER, "path", 1, at + 1,
			"this column has no name: give it one, or remove the column");
	if (has_name(name) && first < at && column->role != COLUMN_IGNORED)
		return failure_error(error, FAILURE_HEADER, "path", 1, at + 1,
			"there are two columns named as this one, the other is column %zu: give them different "
			"names, or `ignore` both in site.json",
			first + 1);
	if (column->role == COLUMN_CATEGORY)
		column->values = json_object_get(json_object_get(description, "categories"), name);
	dataset->columns += column->role == COLUMN_NUMBER ? 1 : json_array_size(column->values);
	return 0;
}

int columns_read(
	const json_t *description, const struct record *header, struct dataset *dataset, struct rounds_error *error)
{
	size_t named = header->count;

	if (header->count == 0)
		return failure_error(error, FAILURE_HEADER, "path", 0, 0, "the table has no rows, not even a header");
	if (check_description(description, header, error))
		return -1;
	while (named > 0 && !has_name(header->fields[named - 1]))
		named--;
	dataset->header = calloc(header->count, sizeof(*dataset->header));
	if (!dataset->header)
		return error_no_memory(error);
	for (size_t at = 0; at < header->count; at++)
		if (take_name(description, header, at, named, dataset, error))
			return -1;
	return 0;
}
