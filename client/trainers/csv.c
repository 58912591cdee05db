#include "client/trainers/cell.h"
#include "client/trainers/columns.h"
#include "common/failure.h"
#include "common/json.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

struct reading {
	struct dataset *dataset;
	const json_t *description;
	char decimal; /* 0: not said */
	struct record record;
	float *row; /* features of the record */
	size_t filled;
	float label;
	bool has_label;
	size_t rows_room;
};

static int refuse(const struct reading *reading, enum failure_kind kind, size_t at, const char *what,
	struct rounds_error *error)
{
	const char *name = at < reading->dataset->header_count ? reading->dataset->header[at].name : "";

	return failure_error(error, kind, "path", reading->record.row, at + 1, "\"%.80s\" %s", name, what);
}

static int refuse_number(const struct reading *reading, size_t at, struct rounds_error *error)
{
	return refuse(reading, FAILURE_CELL, at,
		strchr(reading->record.fields[at], ',') || strchr(reading->record.fields[at], '.')
			? "is not a number as this table writes them: say the dataset's `decimal` in site.json, \",\" or "
			  "\".\", or `ignore` the column"
			: "is not a number: name the column's values in the dataset's `categories`, or `ignore` it",
		error);
}

static int take_category(
	struct reading *reading, const struct dataset_column *column, size_t at, struct rounds_error *error)
{
	const char *text = reading->record.fields[at];
	bool listed = json_lists(column->values, text);
	size_t i;
	json_t *value;

	if (!listed && !cell_is_missing(text))
		return refuse(reading, FAILURE_CATEGORY, at,
			"holds a value that is not among the dataset's `categories`: list it there, or correct the table",
			error);
	json_array_foreach (column->values, i, value)
		reading->row[reading->filled++] = !listed                                  ? NAN
						  : strcmp(json_string_value(value), text) ? 0.0f
											   : 1.0f;
	return 0;
}

static int take_label(struct reading *reading, size_t at, struct rounds_error *error)
{
	const json_t *classes = json_object_get(reading->description, "classes");
	const char *text = reading->record.fields[at];
	size_t i;
	json_t *name;

	json_array_foreach (classes, i, name) {
		if (strcmp(json_string_value(name), text) != 0)
			continue;
		reading->label = (float)i;
		reading->has_label = true;
		return 0;
	}
	if (cell_is_missing(text))
		return 0;
	reading->has_label = true;
	if (json_array_size(classes) > 0)
		return refuse(reading, FAILURE_LABEL, at,
			"holds a value that is not among the dataset's `classes`: list it there, or correct the table",
			error);
	if (!cell_number(text, reading->decimal, &reading->label))
		return refuse(reading, FAILURE_LABEL, at,
			"is to be predicted and not a number: name its values in the dataset's `classes`", error);
	return 0;
}

static int take_number(struct reading *reading, size_t at, struct rounds_error *error)
{
	float number = NAN;

	if (!cell_is_missing(reading->record.fields[at]) &&
		!cell_number(reading->record.fields[at], reading->decimal, &number))
		return refuse_number(reading, at, error);
	reading->row[reading->filled++] = number;
	return 0;
}

static bool is_whole_number(const char *text)
{
	return *text && !text[strspn(text, "0123456789")];
}

static int take_cell(struct reading *reading, size_t at, struct rounds_error *error)
{
	const struct dataset_column *column = &reading->dataset->header[at];

	switch (column->role) {
	case COLUMN_NUMBER:
		return take_number(reading, at, error);
	case COLUMN_CATEGORY:
		return take_category(reading, column, at, error);
	case COLUMN_LABEL:
		return take_label(reading, at, error);
	case COLUMN_INDEX:
		if (!is_whole_number(reading->record.fields[at]))
			return refuse(reading, FAILURE_HEADER, at,
				"has no name and does not number the rows: give the column a name", error);
		break;
	case COLUMN_EMPTY:
		if (*reading->record.fields[at])
			return refuse(reading, FAILURE_HEADER, at,
				"has a value but no name: give the column a name, or remove it", error);
		break;
	case COLUMN_IGNORED:
		break;
	}
	return 0;
}

static int make_room(struct reading *reading, struct rounds_error *error)
{
	struct dataset *dataset = reading->dataset;
	size_t room = reading->rows_room ? 2 * reading->rows_room : 256;
	float *features = reallocarray(dataset->features, room, (dataset->columns + 1) * sizeof(float));
	float *labels = reallocarray(dataset->labels, room, sizeof(float));
	size_t *origins = reallocarray(dataset->origins, room, sizeof(size_t));

	dataset->features = features ? features : dataset->features;
	dataset->labels = labels ? labels : dataset->labels;
	dataset->origins = origins ? origins : dataset->origins;
	if (!features || !labels || !origins)
		return error_no_memory(error);
	reading->rows_room = room;
	return 0;
}

static int keep_row(struct reading *reading, struct rounds_error *error)
{
	struct dataset *dataset = reading->dataset;

	if (dataset->rows == reading->rows_room && make_room(reading, error))
		return -1;
	memcpy(dataset->features + dataset->rows * dataset->columns, reading->row, dataset->columns * sizeof(float));
	dataset->labels[dataset->rows] = reading->label;
	dataset->origins[dataset->rows++] = reading->record.row;
	return 0;
}

/* Separators alone: what spreadsheets write of rows that once were filled. */
static bool is_empty(const struct record *record)
{
	for (size_t i = 0; i < record->count; i++)
		if (*record->fields[i])
			return false;
	return true;
}

static int check_width(const struct reading *reading, struct rounds_error *error)
{
	const struct record *record = &reading->record;
	size_t width = reading->dataset->header_count;

	if (record->count < width)
		return failure_error(error, FAILURE_CELL, "path", record->row, record->count,
			"the record ends here, it has fewer fields than the header: write each column of each row");
	for (size_t i = width; i < record->count; i++)
		if (*record->fields[i])
			return failure_error(error, FAILURE_CELL, "path", record->row, i + 1,
				"the record has more fields than the header: put a field that holds the separator into "
				"quotation marks, or say the dataset's `delimiter` in site.json");
	return 0;
}

static int take_record(struct reading *reading, struct rounds_error *error)
{
	if (is_empty(&reading->record))
		return 0;
	if (check_width(reading, error))
		return -1;
	reading->filled = 0;
	reading->has_label = false;
	for (size_t at = 0; at < reading->dataset->header_count; at++)
		if (take_cell(reading, at, error))
			return -1;
	if (reading->has_label)
		return keep_row(reading, error);
	reading->dataset->skipped++;
	return 0;
}

static int read_records(struct reading *reading, struct records *records, struct rounds_error *error)
{
	struct dataset *dataset = reading->dataset;
	const char delimiter[2] = { records_delimiter(records), '\0' };

	if (records_next(records, &reading->record, error) ||
		columns_read(reading->description, &reading->record, dataset, error))
		return -1;
	dataset->format = json_pack("{s:s, s:s, s:b}", "encoding", records_encoding(records), "delimiter", delimiter,
		"packed", records_packed(records));
	reading->row = calloc(dataset->columns + 1, sizeof(float));
	if (!reading->row)
		return error_no_memory(error);
	for (;;) {
		if (records_next(records, &reading->record, error))
			return -1;
		if (reading->record.count == 0)
			return 0;
		if (take_record(reading, error))
			return -1;
	}
}

int csv_load(const json_t *description, struct dataset *dataset, struct rounds_error *error)
{
	struct reading reading = {
		.dataset = dataset, .description = description, .decimal = json_text_or(description, "decimal", "")[0]
	};
	scoped(records_free) struct records *records = NULL;
	int failed;

	if (records_open(json_text_or(description, "path", ""), json_text_or(description, "encoding", NULL),
		    json_text_or(description, "delimiter", NULL), &records, error))
		return -1;
	failed = read_records(&reading, records, error);
	free(reading.row);
	return failed;
}
