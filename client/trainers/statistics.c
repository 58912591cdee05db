#include "client/trainers/statistics.h"

#include "client/trainers/guarded_table.h"
#include "client/trainers/kaplan_meier.h"
#include "client/trainers/names.h"
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
	json_t *names;
	struct column *columns;
	size_t count;
	struct guarded_table guard; /* what may be told of the same columns */
	struct tensor_file first;   /* the sums of the first pass over all sites */
	struct kaplan_meier km;     /* if survival is asked for (bins > 0) */
	size_t time;                /* its column */
	struct sums sums;           /* what will be written */
};

bool statistics_asked(const json_t *task)
{
	return json_object_get(json_object_get(task, "algorithm"), "statistics") != NULL;
}

static int name_columns(struct analysis *work, const json_t *task, struct rounds_error *error)
{
	const json_t *description = json_object_get(task, "dataset"), *params = json_object_get(task, "params");
	const char *label = json_text_or(description, "label", "label");
	const json_t *classes = json_object_get(description, "classes");

	work->names = json_copy(work->data->names);
	if (json_array_size(classes) > 0
			? names_add_values(work->names, label, classes, json_object_get(params, "classes"), error)
			: names_add_column(work->names, label, error))
		return -1;
	work->count = json_array_size(work->names);
	work->columns = calloc(work->count + 1, sizeof(*work->columns));
	if (!work->columns)
		return error_no_memory(error);
	for (size_t i = 0; i < work->count; i++)
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

static int sum_up(struct analysis *work, struct rounds_error *error)
{
	for (size_t i = 0; i < work->count; i++) {
		struct column *column = &work->columns[i];
		const struct guarded_column *guard = &work->guard.columns[i];

		for (size_t row = 0; guard->told && row < work->data->rows; row++) {
			double value = guarded_value(&work->guard, row, i);

			if (isnan(value)) {
				column->missing++;
				continue;
			}
			column->count++;
			column->sum += value;
			column->squares += value * value;
		}
		column->suppressed = !guard->told || guard->gappy;
		if (tell(work, column->name, "count", column->count, error) ||
			tell(work, column->name, "missing", column->missing, error) ||
			tell(work, column->name, "sum", column->sum, error) ||
			tell(work, column->name, "squares", column->squares, error) ||
			tell(work, column->name, "sites", guard->told, error))
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

/* A histogram's counts: cells[0] is what lies below, the last what lies above. */
struct histogram {
	size_t count;
	size_t *cells, *totals; /* count, count + 1 */
	bool *begins, *allowed; /* count: where merged cells begin, and may */
};

/*
 * Merged cells are told in the last of each. False where nothing may be told: then no edge keeps other sites from telling
 * theirs. Times are not cut again beside the cells that their survival is told in.
 */
static bool merge(const struct analysis *work, size_t column, const struct histogram *histogram)
{
	size_t *cells = histogram->cells, *totals = histogram->totals;
	bool *begins = histogram->begins, told;
	const struct cell_rules rules = { totals, 1, work->guard.least, histogram->allowed, NULL, NULL };

	for (size_t i = 0; i < histogram->count; i++) {
		histogram->allowed[i] = work->km.bins == 0 || work->guard.least == 1 || column != work->time ||
					kaplan_meier_allows(&work->km, totals[i]);
		totals[i + 1] = totals[i] + cells[i];
	}
	told = cells_merge(&rules, histogram->count, begins);
	for (size_t i = 0; i < histogram->count; i++) {
		if (told && i + 1 < histogram->count && !begins[i + 1]) {
			cells[i + 1] += cells[i];
			cells[i] = 0;
		}
		cells[i] = told ? cells[i] : 0;
		begins[i] |= !told;
	}
	return told;
}

/* Sum of squared deviations, and into the cells: everything that the column may tell of how it is spread. */
static double count_cells(const struct analysis *work, size_t index, const struct histogram *histogram)
{
	const struct column *column = &work->columns[index];
	const struct guarded_column *guard = &work->guard.columns[index];
	double bins = (double)histogram->count - 2, deviations = 0;
	double reach = json_number_or(work->asked, "sigmas", 4) * column->deviation, low = column->mean - reach;

	for (size_t row = 0; guard->cells_told && row < work->data->rows; row++) {
		double value = guarded_value(&work->guard, row, index);
		double cell = reach > 0 ? floor((value - low) / (2 * reach) * bins) : floor(bins / 2);

		if (isnan(value))
			continue;
		deviations += guard->told ? (value - column->mean) * (value - column->mean) : 0;
		histogram->cells[cell < 0 ? 0 : cell >= bins ? histogram->count - 1 : (size_t)cell + 1]++;
	}
	return deviations;
}

static int spread(struct analysis *work, size_t index, struct rounds_error *error)
{
	struct column *column = &work->columns[index];
	size_t bins = (size_t)json_integer_or(work->asked, "bins", 20);
	double *told = sums_add(&work->sums, bins, 0, "%s/histogram", column->name), deviations;
	double *edges = sums_add(&work->sums, bins + 1, 0, "%s/edges", column->name);
	scoped(free) void *room = calloc(2 * bins + 5, sizeof(size_t)), *marks = calloc(2 * bins + 4, sizeof(bool));
	struct histogram histogram = { .count = bins + 2, .cells = room, .begins = marks };

	if (!told || !edges || !room || !marks)
		return error_no_memory(error);
	histogram.totals = histogram.cells + histogram.count;
	histogram.allowed = histogram.begins + histogram.count;
	deviations = count_cells(work, index, &histogram);
	if (!merge(work, index, &histogram) || !work->guard.columns[index].cells_told)
		column->suppressed = 1;
	for (size_t i = 0; i < bins; i++)
		told[i] = (double)histogram.cells[i + 1];
	for (size_t i = 0; i <= bins; i++) {
		edges[i] = histogram.begins[i + 1];
		column->suppressed = histogram.begins[i + 1] ? column->suppressed : 1;
	}
	return tell(work, column->name, "deviations", deviations, error) ||
			       tell(work, column->name, "below", (double)histogram.cells[0], error) ||
			       tell(work, column->name, "above", (double)histogram.cells[bins + 1], error)
		       ? -1
		       : 0;
}

static bool is_binary(const struct analysis *work, size_t column)
{
	return strchr(work->columns[column].name, '=') != NULL;
}

/* Every pair of columns that may be told together, over the rows that have both. */
static int relate(struct analysis *work, struct rounds_error *error)
{
	size_t n = work->count;
	double *products = sums_add(&work->sums, n, n, "together/products"),
	       *pairs = sums_add(&work->sums, n, n, "together/pairs");
	double *both = sums_add(&work->sums, n, n, "together/both"),
	       *squares = sums_add(&work->sums, n, n, "together/squares");
	double *suppressed = sums_add(&work->sums, n, n, "together/suppressed");

	if (!products || !pairs || !both || !squares || !suppressed)
		return error_no_memory(error);
	if (guarded_table_relate(&work->guard, error))
		return -1;
	for (size_t at = 0; at < n * n; at++)
		suppressed[at] = !work->guard.pairs[at];
	for (size_t row = 0; row < work->data->rows; row++)
		for (size_t at = 0; at < n * n; at++) {
			size_t i = at / n, j = at % n;
			double x, y;

			if (!work->guard.pairs[at])
				continue;
			x = guarded_value(&work->guard, row, i);
			y = guarded_value(&work->guard, row, j);
			if (isnan(x) || isnan(y))
				continue;
			pairs[at]++;
			products[at] += (x - work->columns[i].mean) * (y - work->columns[j].mean);
			squares[at] += (x - work->columns[i].mean) * (x - work->columns[i].mean);
			both[at] += is_binary(work, i) && is_binary(work, j) && x * y > 0;
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

static int count_survival(struct analysis *work, struct rounds_error *error)
{
	size_t event;

	work->km.bins = (size_t)json_integer_or(work->asked, "bins", 20);
	work->km.end = json_number_or(work->asked, "time_max", 0);
	return find_column(work, "time", &work->time, error) || find_column(work, "event", &event, error) ||
			       kaplan_meier_count(&work->guard, work->time, event, &work->km, error)
		       ? -1
		       : 0;
}

static int tell_survival(struct analysis *work, struct rounds_error *error)
{
	size_t bins = work->km.bins;
	double *events = sums_add(&work->sums, bins, 0, "survival/events"),
	       *at_risk = sums_add(&work->sums, bins, 0, "survival/at_risk");
	double *edges = sums_add(&work->sums, bins + 1, 0, "survival/edges"), suppressed = !work->km.told;

	if (!events || !at_risk || !edges)
		return error_no_memory(error);
	kaplan_meier_tell(&work->km, events, at_risk, edges);
	for (size_t i = 0; i < bins; i++)
		suppressed = edges[i] > 0 ? suppressed : 1;
	return tell(work, "survival", "suppressed", suppressed, error) ||
			       tell(work, "survival", "told", work->km.told, error)
		       ? -1
		       : 0;
}

/* A second question about the same rows would cut them elsewhere. */
static int ask_once(const struct analysis *work, const char *own, struct rounds_error *error)
{
	json_auto_t *question = json_pack("{s:O, s:[]}", "asked", work->asked, "about");

	for (size_t i = 0; question && i < work->count; i++)
		json_array_append_new(json_object_get(question, "about"),
			json_pack("[f, f]", work->columns[i].mean, work->columns[i].deviation));
	if (!question)
		return error_no_memory(error);
	return work->guard.least == 1 ? 0 : cells_ask_once(own, "statistics", question, work->data, error);
}

static int analyse_second(struct analysis *work, const json_t *task, struct rounds_error *error)
{
	const char *model = json_text_or(task, "model", NULL);

	if (!model)
		return failure_error(error, FAILURE_MODEL, "", 0, 0, "the second pass needs the sums of the first");
	if (tensor_file_open(model, &work->first, error) || know_the_whole(work, error) ||
		ask_once(work, json_text_or(task, "own", NULL), error))
		return -1;
	if (*json_text_or(work->asked, "time", "") && count_survival(work, error))
		return -1;
	for (size_t i = 0; i < work->count; i++)
		if (spread(work, i, error))
			return -1;
	return relate(work, error) || (work->km.bins > 0 && tell_survival(work, error)) ||
			       tell(work, "together", "answered", 1, error)
		       ? -1
		       : 0;
}

static int analyse(struct analysis *work, const json_t *task, struct rounds_error *error)
{
	if (sum_up(work, error))
		return -1;
	if (json_integer_or(work->asked, "statistics", 1) == 2 && analyse_second(work, task, error))
		return -1;
	for (size_t i = 0; i < work->count; i++)
		if (tell(work, work->columns[i].name, "suppressed", work->columns[i].suppressed, error))
			return -1;
	return sums_write(&work->sums, json_text_or(task, "output", ""), error);
}

static void analysis_close(struct analysis *work)
{
	sums_free(work->sums);
	guarded_table_free(work->guard);
	kaplan_meier_free(work->km);
	tensor_file_close(work->first);
	free(work->columns);
	json_decref(work->names);
}

int statistics_do(const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error)
{
	const json_t *description = json_object_get(task, "dataset");
	size_t least = (size_t)json_integer_or(description, "min_cell", 5);
	json_auto_t *asked = NULL, *faults = json_array();
	struct analysis work = { .data = dataset };
	int failed;

	asked = fields_apply(asked_fields, json_object_get(task, "algorithm"), "algorithm", faults);
	if (!asked)
		return fields_error(faults, error);
	work.asked = asked;
	if (dataset->rows < least)
		return failure_error(error, FAILURE_TOO_FEW, "path", 0, 0,
			"this site has fewer rows than its min_cell: it tells nothing");
	failed = guarded_table_make(dataset, least, &work.guard, error) || name_columns(&work, task, error) ||
		 analyse(&work, task, error);
	analysis_close(&work);
	if (failed)
		return -1;
	*result = json_pack("{s:I, s:{}}", "weight", (json_int_t)dataset->rows, "metrics");
	return *result ? 0 : error_no_memory(error);
}
