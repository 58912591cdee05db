#include "client/trainers/statistics.h"

#include "client/trainers/sums.h"
#include "common/failure.h"
#include "common/fields.h"
#include "common/json.h"
#include "common/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct field asked_fields[] = {
	{ "statistics", FIELD_INTEGER, "Which pass", .required = true, .min = 1, .max = 2 },
	{ "bins", FIELD_INTEGER, "Cells of a histogram", .fallback = "20", .min = 1, .max = 10000 },
	{ "sigmas", FIELD_NUMBER, "How far it reaches, in deviations", .fallback = "4.0", .min = 0, .max = 1000 },
	{ "time", FIELD_TEXT, "Survival: the column of times", .fallback = "\"\"", .min = 0, .max = 200 },
	{ "event", FIELD_TEXT, "Survival: the column that is 1 for an event", .fallback = "\"\"", .min = 0,
		.max = 200 },
	{ "time_max", FIELD_NUMBER, "Survival: the end of the last cell", .fallback = "0.0", .min = 0, .max = 1e300 },
	{ NULL },
};

struct column {
	const char *name;
	double mean, deviation; /* of the whole */
	double count, missing, sum, squares, suppressed;
};

struct analysis {
	const struct dataset *data;
	const json_t *asked;
	double min_cell;
	json_t *names;
	struct column *columns;
	size_t count;
	struct tensor_file first; /* the sums of the first pass over all sites */
	struct sums sums;         /* what will be written */
};

bool statistics_asked(const json_t *task)
{
	return json_object_get(json_object_get(task, "algorithm"), "statistics") != NULL;
}

/* A value of a row; NAN if it is missing. Behind the features come the label or its classes. */
static double value_at(const struct analysis *work, size_t row, size_t column)
{
	const struct dataset *data = work->data;

	if (column < data->columns)
		return (double)data->features[row * data->columns + column];
	if (data->classes == 0)
		return (double)data->labels[row];
	return data->labels[row] == (float)(column - data->columns) ? 1 : 0;
}

static int name_columns(struct analysis *work, const json_t *description, struct rounds_error *error)
{
	const char *label = json_text_or(description, "label", "label");
	const json_t *classes = json_object_get(description, "classes");
	size_t i;
	json_t *class;

	work->names = json_copy(work->data->names);
	json_array_foreach (classes, i, class)
		json_array_append_new(work->names, json_sprintf("%s=%s", label, json_string_value(class)));
	if (json_array_size(classes) == 0)
		json_array_append_new(work->names, json_string(label));
	work->count = json_array_size(work->names);
	work->columns = calloc(work->count + 1, sizeof(*work->columns));
	if (!work->columns)
		return error_no_memory(error);
	for (i = 0; i < work->count; i++)
		work->columns[i].name = json_string_value(json_array_get(work->names, i));
	return 0;
}

static int tell(
	struct analysis *work, const char *first, const char *second, double value, struct rounds_error *error)
{
	double *place = sums_add(&work->sums, 0, 0, "%s/%s", first, second);

	if (!place)
		return error_no_memory(error);
	*place = value;
	return 0;
}

/* A count as it may be told; small ones are not, and that is said. */
static double guarded(const struct analysis *work, double count, double *suppressed)
{
	if (count > 0 && count < work->min_cell) {
		*suppressed = 1;
		return 0;
	}
	return count;
}

static int sum_up(struct analysis *work, struct rounds_error *error)
{
	for (size_t i = 0; i < work->count; i++) {
		struct column *column = &work->columns[i];

		for (size_t row = 0; row < work->data->rows; row++) {
			double value = value_at(work, row, i);

			if (isnan(value)) {
				column->missing++;
				continue;
			}
			column->count++;
			column->sum += value;
			column->squares += value * value;
		}
		if (guarded(work, column->count, &column->suppressed) == 0)
			column->count = column->sum = column->squares = 0;
		column->missing = guarded(work, column->missing, &column->suppressed);
		if (tell(work, column->name, "count", column->count, error) ||
			tell(work, column->name, "missing", column->missing, error) ||
			tell(work, column->name, "sum", column->sum, error) ||
			tell(work, column->name, "squares", column->squares, error))
			return -1;
	}
	return 0;
}

/* One of the first pass's sums over all sites. */
static int first_sum(
	const struct analysis *work, const char *name, const char *what, double *sum, struct rounds_error *error)
{
	scoped(text_free) char *full = text_new("%s/%s", name, what);
	const double *found;

	if (!full)
		return error_no_memory(error);
	if (sums_find(&work->first, full, 1, &found, error))
		return -1;
	memcpy(sum, found, sizeof(*sum));
	return 0;
}

static int know_the_whole(struct analysis *work, struct rounds_error *error)
{
	for (size_t i = 0; i < work->count; i++) {
		struct column *column = &work->columns[i];
		double count, sum, squares;

		if (first_sum(work, column->name, "count", &count, error) ||
			first_sum(work, column->name, "sum", &sum, error) ||
			first_sum(work, column->name, "squares", &squares, error))
			return -1;
		column->mean = count > 0 ? sum / count : 0;
		column->deviation = count > 0 ? sqrt(fmax(squares / count - column->mean * column->mean, 0)) : 0;
	}
	return 0;
}

static int spread(struct analysis *work, size_t index, struct rounds_error *error)
{
	struct column *column = &work->columns[index];
	size_t bins = (size_t)json_integer_or(work->asked, "bins", 20);
	double reach = json_number_or(work->asked, "sigmas", 4) * column->deviation, low = column->mean - reach;
	double *cells = sums_add(&work->sums, bins, 0, "%s/histogram", column->name), below = 0, above = 0,
	       deviations = 0;

	if (!cells)
		return error_no_memory(error);
	for (size_t row = 0; column->count > 0 && row < work->data->rows; row++) {
		double value = value_at(work, row, index);
		double cell = reach > 0 ? floor((value - low) / (2 * reach) * (double)bins) : floor((double)bins / 2);

		if (isnan(value))
			continue;
		deviations += (value - column->mean) * (value - column->mean);
		if (cell < 0)
			below++;
		else if (cell >= (double)bins)
			above++;
		else
			cells[(size_t)cell]++;
	}
	for (size_t i = 0; i < bins; i++)
		cells[i] = guarded(work, cells[i], &column->suppressed);
	return tell(work, column->name, "deviations", deviations, error) ||
			       tell(work, column->name, "below", guarded(work, below, &column->suppressed), error) ||
			       tell(work, column->name, "above", guarded(work, above, &column->suppressed), error)
		       ? -1
		       : 0;
}

static bool is_binary(const struct analysis *work, size_t column)
{
	return strchr(work->columns[column].name, '=') != NULL;
}

/* Every pair of columns, over the rows that have both. */
static int relate(struct analysis *work, struct rounds_error *error)
{
	size_t n = work->count;
	double *products = sums_add(&work->sums, n, n, "together/products"),
	       *pairs = sums_add(&work->sums, n, n, "together/pairs");
	double *both = sums_add(&work->sums, n, n, "together/both");

	if (!products || !pairs || !both)
		return error_no_memory(error);
	for (size_t row = 0; row < work->data->rows; row++)
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j++) {
				double x = value_at(work, row, i), y = value_at(work, row, j);

				if (isnan(x) || isnan(y))
					continue;
				pairs[i * n + j]++;
				products[i * n + j] += (x - work->columns[i].mean) * (y - work->columns[j].mean);
				both[i * n + j] += is_binary(work, i) && is_binary(work, j) && x * y > 0;
			}
	for (size_t at = 0; at < n * n; at++) {
		struct column *column = &work->columns[at / n];

		pairs[at] = guarded(work, pairs[at], &column->suppressed);
		products[at] = pairs[at] > 0 ? products[at] : 0;
		both[at] = guarded(work, both[at], &column->suppressed);
	}
	return 0;
}

static int find_column(const struct analysis *work, const char *key, size_t *index, struct rounds_error *error)
{
	const char *name = json_text_or(work->asked, key, "");

	for (*index = 0; *index < work->count; (*index)++)
		if (!strcmp(work->columns[*index].name, name))
			return 0;
	return failure_error(
		error, FAILURE_COLUMN, "path", 0, 0, "there is no column \"%.80s\" for the survival's %s", name, key);
}

/* Who was still at risk when a cell of time began, and how many had their event in it. */
static int survive(struct analysis *work, struct rounds_error *error)
{
	size_t bins = (size_t)json_integer_or(work->asked, "bins", 20), time, event;
	double *events = sums_add(&work->sums, bins, 0, "survival/events"),
	       *at_risk = sums_add(&work->sums, bins, 0, "survival/at_risk");
	double end = json_number_or(work->asked, "time_max", 0), suppressed = 0;

	if (!events || !at_risk)
		return error_no_memory(error);
	if (find_column(work, "time", &time, error) || find_column(work, "event", &event, error))
		return -1;
	for (size_t row = 0; row < work->data->rows; row++) {
		double when = value_at(work, row, time), what = value_at(work, row, event);
		double cell = end > 0 ? floor(when / end * (double)bins) : 0;

		if (isnan(when) || isnan(what))
			continue;
		for (size_t i = 0; i < bins && (double)i <= cell; i++)
			at_risk[i]++;
		if (what == 1 && cell >= 0 && cell < (double)bins)
			events[(size_t)cell]++;
	}
	for (size_t i = 0; i < bins; i++) {
		events[i] = guarded(work, events[i], &suppressed);
		at_risk[i] = guarded(work, at_risk[i], &suppressed);
	}
	return tell(work, "survival", "suppressed", suppressed, error);
}

static int analyse(struct analysis *work, const json_t *task, struct rounds_error *error)
{
	const char *model = json_text_or(task, "model", NULL);
	bool second = json_integer_or(work->asked, "statistics", 1) == 2;

	if (second && !model)
		return failure_error(error, FAILURE_MODEL, "", 0, 0, "the second pass needs the sums of the first");
	if ((second && (tensor_file_open(model, &work->first, error) || know_the_whole(work, error))) ||
		sum_up(work, error))
		return -1;
	for (size_t i = 0; second && i < work->count; i++)
		if (spread(work, i, error))
			return -1;
	if (second && (relate(work, error) || (*json_text_or(work->asked, "time", "") && survive(work, error))))
		return -1;
	for (size_t i = 0; i < work->count; i++)
		if (tell(work, work->columns[i].name, "suppressed", work->columns[i].suppressed, error))
			return -1;
	return sums_write(&work->sums, json_text_or(task, "output", ""), error);
}

static void analysis_close(struct analysis *work)
{
	sums_free(work->sums);
	tensor_file_close(work->first);
	free(work->columns);
	json_decref(work->names);
}

int statistics_do(const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error)
{
	const json_t *description = json_object_get(task, "dataset");
	json_auto_t *asked = NULL, *faults = json_array();
	struct analysis work = { .data = dataset, .min_cell = (double)json_integer_or(description, "min_cell", 5) };
	int failed;

	asked = fields_apply(asked_fields, json_object_get(task, "algorithm"), "algorithm", faults);
	if (!asked)
		return fields_error(faults, error);
	work.asked = asked;
	if ((double)dataset->rows < work.min_cell)
		return failure_error(error, FAILURE_TOO_FEW, "path", 0, 0,
			"this site has fewer rows than its min_cell: it tells nothing");
	failed = name_columns(&work, description, error) || analyse(&work, task, error);
	analysis_close(&work);
	if (failed)
		return -1;
	*result = json_pack("{s:I, s:{}}", "weight", (json_int_t)dataset->rows, "metrics");
	return *result ? 0 : error_no_memory(error);
}
