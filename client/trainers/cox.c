#include "client/trainers/cox.h"

#include "client/trainers/risk_grid.h"
#include "client/trainers/small_cells.h"
#include "client/trainers/sums.h"
#include "common/failure.h"
#include "common/fields.h"
#include "common/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct field asked_fields[] = {
	{ "cox", FIELD_TEXT, "The column of times", .required = true, .min = 1, .max = 200 },
	{ "bins", FIELD_INTEGER, "Cells of time", .required = true, .min = 1, .max = 100000 },
	{ "time_max", FIELD_NUMBER, "The end of the last cell", .required = true, .min = 0, .max = 1e300,
		.exclusive = true },
	{ NULL },
};

struct survival {
	const struct dataset *data;
	struct risk_grid grid;
	double time_max;
	size_t width, *covariates; /* columns */
	double *x;                 /* of the present row */
	double *beta;
	double *hazards; /* rows */
	struct sums sums;
};

bool cox_asked(const json_t *task)
{
	return json_object_get(json_object_get(task, "algorithm"), "cox") != NULL;
}

/* Whether the feature is the first value of a category: the others are compared with it. */
static bool is_reference(const struct dataset *data, size_t column)
{
	const char *name = json_string_value(json_array_get(data->names, column));
	const char *before = column > 0 ? json_string_value(json_array_get(data->names, column - 1)) : "";

	for (size_t i = 0; i < data->header_count; i++) {
		const struct dataset_column *header = &data->header[i];
		size_t length = strlen(header->name);

		if (header->role == COLUMN_CATEGORY && !strncmp(header->name, name, length) && name[length] == '=')
			return strncmp(header->name, before, length) != 0 || before[length] != '=';
	}
	return false;
}

static int choose_covariates(struct survival *work, struct rounds_error *error)
{
	for (size_t i = 0; i < work->data->columns; i++)
		if (i != work->grid.time && !is_reference(work->data, i))
			work->covariates[work->width++] = i;
	if (work->width > 0)
		return 0;
	return failure_error(error, FAILURE_COLUMN, "path", 0, 0,
		"there are no features beside the times that could be covariates");
}

/* Each row's cell of time; rows of which something is missing are left out. */
static void place_rows(struct survival *work)
{
	const struct dataset *data = work->data;
	size_t bins = work->grid.bins;

	for (size_t row = 0; row < data->rows; row++) {
		const float *features = data->features + row * data->columns;
		double at = floor((double)features[work->grid.time] / work->time_max * (double)bins + 1e-9);
		bool missing = false;

		for (size_t i = 0; i < data->columns; i++)
			missing |= isnan(features[i]);
		work->grid.cells[row] = missing ? bins : at < 0 ? 0 : at >= (double)bins ? bins - 1 : (size_t)at;
	}
}

/* Of those who leave in each cell of time; events_x is not by time. */
struct risk_sums {
	double *risk, *x, *xx, *events, *events_x, *edges;
};

/* Rows leave the risk set when their cell ends: what belongs to a cell here is summed from the last cell on at the end. */
static void accumulate(double *values, size_t bins, size_t width)
{
	for (size_t cell = bins - 1; cell-- > 0;)
		for (size_t i = 0; i < width; i++)
			values[cell * width + i] += values[(cell + 1) * width + i];
}

/* Merged cells hold the first one's risk sets; the last of them has the events. */
static void coarsen(const struct survival *work, const struct risk_sums *sums)
{
	size_t d = work->width;

	for (size_t t = 1; t < work->grid.bins; t++) {
		if (work->grid.begins[t])
			continue;
		sums->risk[t] = sums->risk[t - 1];
		memcpy(sums->x + t * d, sums->x + (t - 1) * d, d * sizeof(double));
		memcpy(sums->xx + t * d * d, sums->xx + (t - 1) * d * d, d * d * sizeof(double));
		sums->events[t] += sums->events[t - 1];
		sums->events[t - 1] = 0;
	}
	for (size_t t = 0; t < work->grid.bins; t++)
		sums->edges[t] = work->grid.begins[t];
}

static double take_row(struct survival *work, size_t row)
{
	double score = 0;

	for (size_t i = 0; i < work->width; i++) {
		work->x[i] = risk_grid_value(&work->grid, row, work->covariates[i]);
		score += work->beta[i] * work->x[i];
	}
	return exp(score);
}

static void add_row(const struct survival *work, const struct risk_sums *sums, size_t row)
{
	size_t d = work->width, cell = work->grid.cells[row];
	bool event = work->data->labels[row] == 1;
	double hazard = work->hazards[row];

	sums->risk[cell] += hazard;
	sums->events[cell] += event;
	for (size_t i = 0; i < d; i++) {
		sums->x[cell * d + i] += hazard * work->x[i];
		sums->events_x[i] += event ? work->x[i] : 0;
		for (size_t j = 0; j < d; j++)
			sums->xx[(cell * d + i) * d + j] += hazard * work->x[i] * work->x[j];
	}
}

static int add_up(struct survival *work, size_t *used, struct rounds_error *error)
{
	size_t d = work->width, t = work->grid.bins;
	struct risk_sums sums = {
		.risk = sums_add(&work->sums, t, 0, "risk"),
		.x = sums_add(&work->sums, t, d, "risk_x"),
		.xx = sums_add(&work->sums, t, d * d, "risk_xx"),
		.events = sums_add(&work->sums, t, 0, "events"),
		.events_x = sums_add(&work->sums, d, 0, "events_x"),
		.edges = sums_add(&work->sums, t, 0, "edges"),
	};
	double *sites = sums_add(&work->sums, 0, 0, "sites"), *bounded = sums_add(&work->sums, d, 0, "bounded");

	if (!bounded || !sums.risk || !sums.x || !sums.xx || !sums.events || !sums.events_x || !sums.edges || !sites)
		return error_no_memory(error);
	*sites = 1;
	for (size_t row = 0; row < work->data->rows; row++) {
		if (work->grid.cells[row] == t)
			continue;
		work->hazards[row] = take_row(work, row);
		add_row(work, &sums, row);
		(*used)++;
	}
	if (work->grid.least > 1 && risk_grid_weigh(&work->grid, work->hazards, error))
		return -1;
	for (size_t i = 0; i < d; i++)
		bounded[i] = (double)risk_grid_bounded(&work->grid, work->covariates[i]);
	accumulate(sums.risk, t, 1);
	accumulate(sums.x, t, d);
	accumulate(sums.xx, t, d * d);
	coarsen(work, &sums);
	return 0;
}

static int read_beta(struct survival *work, const char *path, struct rounds_error *error)
{
	scoped(tensor_file_close) struct tensor_file file = { 0 };
	const double *beta;

	if (tensor_file_open(path, &file, error) || sums_find(&file, "beta", work->width, &beta, error))
		return -1;
	memcpy(work->beta, beta, work->width * sizeof(double));
	return 0;
}

/* The model before the first step: all zero. */
static int make_model(struct survival *work, struct rounds_error *error)
{
	static const char *const by_covariate[] = { "beta", "standard_error", "hazard_ratio", "p_value", "bounded" };
	static const char *const by_time[] = { "baseline_hazard", "grid" };
	json_auto_t *names = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(by_covariate); i++)
		if (!sums_add(&work->sums, work->width, 0, "%s", by_covariate[i]))
			return error_no_memory(error);
	for (size_t i = 0; i < ARRAY_SIZE(by_time); i++)
		if (!sums_add(&work->sums, work->grid.bins, 0, "%s", by_time[i]))
			return error_no_memory(error);
	for (size_t i = 0; i < work->width; i++)
		json_array_append(names, json_array_get(work->data->names, work->covariates[i]));
	work->sums.covariates = json_dumps(names, JSON_COMPACT);
	return sums_add(&work->sums, 0, 0, "log_likelihood") && work->sums.covariates ? 0 : error_no_memory(error);
}

/* The grid is the same in all rounds of a job, and so must the rows be. */
static int make_grid(struct survival *work, const json_t *task, const json_t *asked, struct rounds_error *error)
{
	struct risk_grid *grid = &work->grid;

	place_rows(work);
	for (size_t t = 0; t < grid->bins; t++)
		grid->begins[t] = true;
	if (grid->least == 1)
		return 0;
	if (work->data->rows < grid->least)
		return failure_error(error, FAILURE_TOO_FEW, "path", 0, 0,
			"this site has fewer rows than its min_cell: it tells nothing");
	grid->bounds = calloc(work->data->columns, sizeof(*grid->bounds));
	if (!grid->bounds)
		return error_no_memory(error);
	return cells_ask_once(json_text_or(task, "own", NULL), "cox", asked, work->data, error) ||
			       risk_grid_merge(grid, error)
		       ? -1
		       : 0;
}

static int do_kind(
	struct survival *work, const json_t *task, const json_t *asked, size_t *used, struct rounds_error *error)
{
	const char *kind = json_text_or(task, "kind", "");

	if (dataset_column(work->data, json_text_or(asked, "cox", ""), &work->grid.time, error) ||
		choose_covariates(work, error))
		return -1;
	if (!strcmp(kind, "initialize") ? make_model(work, error)
					: read_beta(work, json_text_or(task, "model", ""), error) ||
						  make_grid(work, task, asked, error) || add_up(work, used, error))
		return -1;
	return strcmp(kind, "evaluate") != 0 ? sums_write(&work->sums, json_text_or(task, "output", ""), error) : 0;
}

static int make_room(struct survival *work, struct rounds_error *error)
{
	size_t columns = work->data->columns, rows = work->data->rows;

	work->x = calloc(2 * columns + 1, sizeof(double));
	work->beta = work->x + columns;
	work->covariates = calloc(columns + 1, sizeof(size_t));
	work->hazards = calloc(rows + 1, sizeof(double));
	work->grid.cells = calloc(rows + 1, sizeof(size_t));
	work->grid.begins = calloc(work->grid.bins, sizeof(bool));
	return work->x && work->covariates && work->hazards && work->grid.cells && work->grid.begins
		       ? 0
		       : error_no_memory(error);
}

static void close_survival(struct survival *work)
{
	free(work->x);
	free(work->covariates);
	free(work->hazards);
	free(work->grid.cells);
	free(work->grid.begins);
	free(work->grid.bounds);
	sums_free(work->sums);
}

int cox_do(const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error)
{
	json_auto_t *asked = NULL, *faults = json_array();
	struct survival work = { .data = dataset, .grid.data = dataset, .sums.schema = dataset->schema };
	size_t used = 0;
	int failed;

	asked = fields_apply(asked_fields, json_object_get(task, "algorithm"), "algorithm", faults);
	if (!asked)
		return fields_error(faults, error);
	work.grid.bins = (size_t)json_integer_or(asked, "bins", 1);
	work.grid.least = (size_t)json_integer_or(json_object_get(task, "dataset"), "min_cell", 5);
	work.time_max = json_number_or(asked, "time_max", 1);
	failed = make_room(&work, error) || do_kind(&work, task, asked, &used, error);
	close_survival(&work);
	if (failed)
		return -1;
	*result = json_pack("{s:I, s:{}}", "weight", (json_int_t)(used ? used : 1), "metrics");
	return *result ? 0 : error_no_memory(error);
}
