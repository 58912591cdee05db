#include "client/trainers/cox.h"

#include "client/trainers/sums.h"
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
	size_t time, width, bins; /* the column of times; the others; cells */
	double time_max;
	double *x; /* of the present row */
	double *beta;
	struct sums sums;
};

bool cox_asked(const json_t *task)
{
	return json_object_get(json_object_get(task, "algorithm"), "cox") != NULL;
}

/* The row's covariates and its cell of time; false if something of it is missing. */
static bool take_row(const struct survival *work, size_t row, size_t *cell)
{
	const float *features = work->data->features + row * work->data->columns;
	double at = floor((double)features[work->time] / work->time_max * (double)work->bins + 1e-9);
	size_t filled = 0;

	for (size_t i = 0; i < work->data->columns; i++) {
		if (isnan(features[i]))
			return false;
		if (i != work->time)
			work->x[filled++] = (double)features[i];
	}
	*cell = at < 0 ? 0 : at >= (double)work->bins ? work->bins - 1 : (size_t)at;
	return true;
}

/* Rows leave the risk set when their cell ends: what belongs to a cell here is summed from the last cell on at the end. */
static void accumulate(double *values, size_t bins, size_t width)
{
	for (size_t cell = bins - 1; cell-- > 0;)
		for (size_t i = 0; i < width; i++)
			values[cell * width + i] += values[(cell + 1) * width + i];
}

static int add_up(struct survival *work, size_t *used, struct rounds_error *error)
{
	size_t d = work->width, t = work->bins, cell;
	double *risk = sums_add(&work->sums, t, 0, "risk"), *risk_x = sums_add(&work->sums, t, d, "risk_x");
	double *risk_xx = sums_add(&work->sums, t, d * d, "risk_xx"), *events = sums_add(&work->sums, t, 0, "events");
	double *events_x = sums_add(&work->sums, d, 0, "events_x");

	if (!risk || !risk_x || !risk_xx || !events || !events_x)
		return error_no_memory(error);
	for (size_t row = 0; row < work->data->rows; row++) {
		double score = 0, hazard;
		bool event = work->data->labels[row] == 1;

		if (!take_row(work, row, &cell))
			continue;
		for (size_t i = 0; i < d; i++)
			score += work->beta[i] * work->x[i];
		hazard = exp(score);
		risk[cell] += hazard;
		events[cell] += event;
		for (size_t i = 0; i < d; i++) {
			risk_x[cell * d + i] += hazard * work->x[i];
			events_x[i] += event ? work->x[i] : 0;
			for (size_t j = 0; j < d; j++)
				risk_xx[(cell * d + i) * d + j] += hazard * work->x[i] * work->x[j];
		}
		(*used)++;
	}
	accumulate(risk, t, 1);
	accumulate(risk_x, t, d);
	accumulate(risk_xx, t, d * d);
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
	return sums_add(&work->sums, work->width, 0, "beta") &&
			       sums_add(&work->sums, work->width, 0, "standard_error") &&
			       sums_add(&work->sums, work->bins, 0, "baseline_hazard") &&
			       sums_add(&work->sums, 0, 0, "log_likelihood")
		       ? 0
		       : error_no_memory(error);
}

int cox_do(const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error)
{
	const char *kind = json_text_or(task, "kind", ""), *model = json_text_or(task, "model", NULL);
	json_auto_t *asked = NULL, *faults = json_array();
	struct survival work = { .data = dataset, .width = dataset->columns - 1 };
	scoped(free) void *room = calloc(2 * dataset->columns + 1, sizeof(double));
	size_t used = 0;
	int failed;

	asked = fields_apply(asked_fields, json_object_get(task, "algorithm"), "algorithm", faults);
	if (!asked)
		return fields_error(faults, error);
	if (!room)
		return error_no_memory(error);
	work.x = room;
	work.beta = work.x + dataset->columns;
	work.bins = (size_t)json_integer_or(asked, "bins", 1);
	work.time_max = json_number_or(asked, "time_max", 1);
	failed = dataset_column(dataset, json_text_or(asked, "cox", ""), &work.time, error);
	if (!failed && !strcmp(kind, "initialize"))
		failed = make_model(&work, error);
	else if (!failed)
		failed = read_beta(&work, model ? model : "", error) || add_up(&work, &used, error);
	if (!failed && strcmp(kind, "evaluate") != 0)
		failed = sums_write(&work.sums, json_text_or(task, "output", ""), error);
	sums_free(work.sums);
	if (failed)
		return -1;
	*result = json_pack("{s:I, s:{}}", "weight", (json_int_t)(used ? used : 1), "metrics");
	return *result ? 0 : error_no_memory(error);
}
