#include "client/trainers/dataset.h"

#include "common/json.h"

#include <csv.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What a column of the file is. */
struct column {
	char *name;
	enum { COLUMN_FEATURE, COLUMN_LABEL, COLUMN_IGNORED } role;
	const json_t *values; /* of a category: one feature each; NULL: a number */
};

struct reading {
	struct dataset *dataset;
	const json_t *description;
	struct column *columns;
	size_t column_count, column_room;
	size_t line, at; /* the record being read, from 1; the field in it */
	float *row;      /* features of the record */
	size_t filled, row_room;
	float label;
	bool has_label;
	size_t rows_room;
	bool failed;
	struct rounds_error *error;
};

static void fail(struct reading *reading, const char *what, const char *field)
{
	const char *column = reading->at < reading->column_count ? reading->columns[reading->at].name : "";

	if (reading->failed)
		return;
	reading->failed = true;
	error_set(reading->error, ERROR_INVALID, "record %zu, column \"%.80s\": %s%s%.80s%s", reading->line, column,
		what, field ? " \"" : "", field ? field : "", field ? "\"" : "");
}

static void name_features(struct dataset *dataset, const struct column *column)
{
	size_t i;
	json_t *value;

	if (column->role != COLUMN_FEATURE)
		return;
	if (!column->values)
		json_array_append_new(dataset->names, json_string(column->name));
	json_array_foreach (column->values, i, value)
		json_array_append_new(dataset->names, json_sprintf("%s=%s", column->name, json_string_value(value)));
}

static void take_heading(struct reading *reading, const char *name)
{
	struct column *columns = reading->columns, *column;

	if (reading->column_count == reading->column_room) {
		reading->column_room = reading->column_room ? 2 * reading->column_room : 64;
		columns = realloc(columns, reading->column_room * sizeof(*columns));
		if (!columns) {
			fail(reading, "out of memory", NULL);
			return;
		}
		reading->columns = columns;
	}
	for (size_t i = 0; i < reading->column_count; i++)
		if (!strcmp(columns[i].name, name))
			fail(reading, "there are two columns named", name);
	column = &columns[reading->column_count++];
	*column = (struct column){ .name = strdup(name), .role = COLUMN_FEATURE };
	if (!strcmp(name, json_text_or(reading->description, "label", "")))
		column->role = COLUMN_LABEL;
	else if (json_lists(json_object_get(reading->description, "ignore"), name))
		column->role = COLUMN_IGNORED;
	else
		column->values = json_object_get(json_object_get(reading->description, "categories"), name);
	name_features(reading->dataset, column);
}

static bool is_missing(const char *field)
{
	static const char *const words[] = { "", "?", "NA", "NaN", "nan", "null", "NULL" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(field, words[i]))
			return true;
	return false;
}

static bool parse_number(const char *field, float *number)
{
	char *end;

	errno = 0;
	*number = strtof(field, &end);
	while (*end == ' ')
		end++;
	return end != field && !*end && isfinite(*number);
}

static void add_feature(struct reading *reading, float value)
{
	if (reading->filled == reading->row_room) {
		float *more = realloc(reading->row, (reading->row_room = 2 * reading->row_room + 64) * sizeof(float));

		if (!more) {
			fail(reading, "out of memory", NULL);
			return;
		}
		reading->row = more;
	}
	reading->row[reading->filled++] = value;
}

static void take_category(struct reading *reading, const json_t *values, const char *field)
{
	bool missing = is_missing(field);
	size_t i;
	json_t *value;

	if (!missing && !json_lists(values, field)) {
		fail(reading, "is not among the dataset's categories:", field);
		return;
	}
	json_array_foreach (values, i, value)
		add_feature(reading, missing ? NAN : strcmp(json_string_value(value), field) ? 0.0f : 1.0f);
}

static void take_label(struct reading *reading, const char *field)
{
	const json_t *classes = json_object_get(reading->description, "classes");
	size_t i;
	json_t *name;

	if (is_missing(field))
		return;
	reading->has_label = true;
	if (json_array_size(classes) == 0) {
		if (!parse_number(field, &reading->label))
			fail(reading, "the label is not a number (name its `classes` in the dataset):", field);
		return;
	}
	json_array_foreach (classes, i, name) {
		if (json_is_string(name) && !strcmp(json_string_value(name), field)) {
			reading->label = (float)i;
			return;
		}
	}
	fail(reading, "is not among the dataset's classes:", field);
}

static void take_field(void *bytes, size_t size, void *context)
{
	struct reading *reading = context;
	const char *field = bytes ? bytes : "";
	const struct column *column;
	float number;

	if (reading->failed)
		return;
	if (strlen(field) != size) {
		fail(reading, "holds a NUL byte", NULL);
		return;
	}
	if (reading->line == 1) {
		take_heading(reading, field);
		reading->at++;
		return;
	}
	if (reading->at >= reading->column_count) {
		fail(reading, "the record has more fields than the header", NULL);
		return;
	}
	column = &reading->columns[reading->at];
	if (column->role == COLUMN_LABEL)
		take_label(reading, field);
	else if (column->role == COLUMN_FEATURE && column->values)
		take_category(reading, column->values, field);
	else if (column->role == COLUMN_FEATURE && is_missing(field))
		add_feature(reading, NAN);
	else if (column->role == COLUMN_FEATURE && parse_number(field, &number))
		add_feature(reading, number);
	else if (column->role == COLUMN_FEATURE)
		fail(reading, "is not a number (give the column's `categories`, or `ignore` it):", field);
	reading->at++;
}

static void keep_row(struct reading *reading)
{
	struct dataset *dataset = reading->dataset;

	if (dataset->rows == reading->rows_room) {
		size_t room = reading->rows_room ? 2 * reading->rows_room : 256;
		float *features = realloc(
			dataset->features, room * (dataset->columns ? dataset->columns : 1) * sizeof(float));
		float *labels = features ? realloc(dataset->labels, room * sizeof(float)) : NULL;

		dataset->features = features ? features : dataset->features;
		dataset->labels = labels ? labels : dataset->labels;
		if (!labels) {
			fail(reading, "out of memory", NULL);
			return;
		}
		reading->rows_room = room;
	}
	if (dataset->columns > 0)
		memcpy(dataset->features + dataset->rows * dataset->columns, reading->row,
			dataset->columns * sizeof(float));
	dataset->labels[dataset->rows++] = reading->label;
}

static bool has_label_column(const struct reading *reading)
{
	for (size_t i = 0; i < reading->column_count; i++)
		if (reading->columns[i].role == COLUMN_LABEL)
			return true;
	return false;
}

static void take_end_of_record(int terminator, void *context)
{
	struct reading *reading = context;

	(void)terminator;
	if (reading->failed)
		return;
	if (reading->line == 1) {
		const char *label = json_text_or(reading->description, "label", "");

		reading->at = reading->column_count;
		if (!has_label_column(reading))
			fail(reading, *label ? "there is no label column" : "the dataset names no label column",
				*label ? label : NULL);
	} else if (reading->at != reading->column_count) {
		fail(reading, "the record has fewer fields than the header", NULL);
	} else if (!reading->has_label) {
		reading->dataset->skipped++;
	} else {
		reading->dataset->columns = reading->filled;
		keep_row(reading);
	}
	reading->line++;
	reading->at = reading->filled = 0;
	reading->has_label = false;
}

static int parse(FILE *file, struct csv_parser *parser, struct reading *reading, struct rounds_error *error)
{
	char block[65536];
	size_t got;

	while (!reading->failed && (got = fread(block, 1, sizeof(block), file)) > 0)
		if (csv_parse(parser, block, got, take_field, take_end_of_record, reading) != got)
			return error_set(error, ERROR_INVALID, "record %zu: %s", reading->line,
				csv_strerror(csv_error(parser)));
	if (ferror(file))
		return error_errno(error, "cannot be read");
	if (!reading->failed && csv_fini(parser, take_field, take_end_of_record, reading))
		return error_set(
			error, ERROR_INVALID, "record %zu: %s", reading->line, csv_strerror(csv_error(parser)));
	return reading->failed ? -1 : 0;
}

int csv_load(const json_t *description, struct dataset *dataset, struct rounds_error *error)
{
	struct reading reading = { .dataset = dataset, .description = description, .line = 1, .error = error };
	FILE *file = fopen(json_text_or(description, "path", ""), "re");
	struct csv_parser parser;
	int failed;

	if (!file)
		return error_errno(error, "cannot be opened");
	if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL)) {
		fclose(file);
		return error_no_memory(error);
	}
	failed = parse(file, &parser, &reading, error);
	csv_free(&parser);
	fclose(file);
	for (size_t i = 0; i < reading.column_count; i++)
		free(reading.columns[i].name);
	free(reading.columns);
	free(reading.row);
	return failed;
}
