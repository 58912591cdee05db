#include "client/trainers/describe.h"

#include "common/json.h"

#include <math.h>
#include <string.h>

static const char *const kinds[] = {
	[COLUMN_NUMBER] = "number",
	[COLUMN_CATEGORY] = "category",
	[COLUMN_LABEL] = "label",
	[COLUMN_IGNORED] = "ignored",
	[COLUMN_INDEX] = "index",
	[COLUMN_EMPTY] = "empty",
};

struct numbers {
	size_t missing, count;
	double least, greatest, sum;
};

static void numbers_add(struct numbers *numbers, double value)
{
	if (!isfinite(value)) {
		numbers->missing++;
		return;
	}
	numbers->least = numbers->count ? fmin(numbers->least, value) : value;
	numbers->greatest = numbers->count ? fmax(numbers->greatest, value) : value;
	numbers->sum += value;
	numbers->count++;
}

static void numbers_tell(const struct numbers *numbers, json_t *into)
{
	json_object_set_new(into, "missing", json_integer((json_int_t)numbers->missing));
	if (numbers->count == 0)
		return;
	json_object_set_new(into, "least", json_real(numbers->least));
	json_object_set_new(into, "greatest", json_real(numbers->greatest));
	json_object_set_new(into, "mean", json_real(numbers->sum / (double)numbers->count));
}

static json_t *count_names(const json_t *names)
{
	json_t *counts = json_object();
	size_t i;
	json_t *name;

	json_array_foreach (names, i, name)
		json_object_set_new(counts, json_string_value(name), json_integer(0));
	return counts;
}

static void count_one(json_t *counts, const char *name)
{
	json_object_set_new(counts, name, json_integer(json_integer_or(counts, name, 0) + 1));
}

static void tell_number(const struct dataset *dataset, size_t feature, json_t *into)
{
	struct numbers numbers = { 0 };

	for (size_t row = 0; row < dataset->rows; row++)
		numbers_add(&numbers, (double)dataset->features[row * dataset->columns + feature]);
	numbers_tell(&numbers, into);
}

/* One feature for each value: exactly one is 1, or all are missing. */
static void tell_category(const struct dataset *dataset, const json_t *values, size_t feature, json_t *into)
{
	json_t *counts = count_names(values);
	size_t missing = 0;

	for (size_t row = 0; row < dataset->rows; row++) {
		const float *cells = dataset->features + row * dataset->columns + feature;
		size_t at = 0;

		while (at < json_array_size(values) && cells[at] != 1)
			at++;
		if (at < json_array_size(values))
			count_one(counts, json_string_value(json_array_get(values, at)));
		else
			missing++;
	}
	json_object_set_new(into, "missing", json_integer((json_int_t)missing));
	json_object_set_new(into, "values", counts);
}

static json_t *tell_label(const struct dataset *dataset, const json_t *description)
{
	const json_t *classes = json_object_get(description, "classes");
	json_t *told = json_pack("{s:s?, s:s}", "name", json_text_or(description, "label", NULL), "kind",
		dataset->classes ? "classes" : "number");
	struct numbers numbers = { .missing = dataset->skipped };

	if (dataset->classes) {
		json_t *counts = count_names(classes);

		for (size_t row = 0; row < dataset->rows; row++)
			count_one(counts, json_string_value(json_array_get(classes, (size_t)dataset->labels[row])));
		json_object_set_new(told, "missing", json_integer((json_int_t)dataset->skipped));
		json_object_set_new(told, "values", counts);
		return told;
	}
	for (size_t row = 0; row < dataset->rows; row++)
		numbers_add(&numbers, (double)dataset->labels[row]);
	numbers_tell(&numbers, told);
	return told;
}

/* An unnamed matrix is one thing, however wide. */
static json_t *tell_matrix(const struct dataset *dataset)
{
	json_t *told = json_pack("{s:s, s:I}", "kind", "matrix", "width", (json_int_t)dataset->columns);
	struct numbers numbers = { 0 };

	for (size_t i = 0; i < dataset->rows * dataset->columns; i++)
		numbers_add(&numbers, (double)dataset->features[i]);
	numbers_tell(&numbers, told);
	return json_pack("[o]", told);
}

static json_t *tell_columns(const struct dataset *dataset)
{
	json_t *list = json_array();
	size_t feature = 0;

	for (size_t i = 0; i < dataset->header_count; i++) {
		const struct dataset_column *column = &dataset->header[i];
		json_t *told = json_pack("{s:s, s:s}", "name", column->name, "kind", kinds[column->role]);

		if (column->role == COLUMN_NUMBER)
			tell_number(dataset, feature++, told);
		if (column->role == COLUMN_CATEGORY) {
			tell_category(dataset, column->values, feature, told);
			feature += json_array_size(column->values);
		}
		json_array_append_new(list, told);
	}
	return list;
}

json_t *dataset_describe(const struct dataset *dataset, const json_t *description)
{
	return json_pack("{s:I, s:I, s:O?, s:o, s:o}", "rows", (json_int_t)dataset->rows, "skipped",
		(json_int_t)dataset->skipped, "format", dataset->format, "columns",
		dataset->header ? tell_columns(dataset) : tell_matrix(dataset), "label",
		tell_label(dataset, description));
}
