#include "client/trainers/microaggregation.h"

#include "client/trainers/small_cells.h"
#include "common/failure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POWER_STEPS = 8 };

struct place {
	double at;
	size_t row;
};

struct halving {
	const struct dataset *data;
	size_t least;
	struct groups *groups;
	double *centre, *unit; /* columns: of the whole table, and 1/deviation (0: the column does not count) */
	double *mean, *axis, *next, *away; /* columns: of the present set of rows */
	struct place *places;              /* rows */
	double *values;                    /* the different values of a column in some rows... */
	size_t *people;                    /* ...and how many rows have each */
	bool *binary;                      /* columns: there are two values in the whole table */
};

static double raw(const struct dataset *data, size_t row, size_t column)
{
	return (double)data->features[row * data->columns + column];
}

/* The different values of a column in some rows (NULL: all) are put into `values` and `people`. */
static struct column_shape tally(struct halving *work, const size_t *rows, size_t count, size_t column, size_t least)
{
	size_t different;

	for (size_t i = 0; i < count; i++)
		work->values[i] = raw(work->data, rows ? rows[i] : i, column);
	different = cells_tally(work->values, count, work->people);
	return cells_judge(work->values, work->people, different, least);
}

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

/* Which columns are told at all, and how they are scaled for comparison. */
static void judge_columns(struct halving *work)
{
	for (size_t j = 0; j < work->data->columns; j++) {
		double sum = 0, squares = 0;
		struct column_shape shape = tally(work, NULL, work->data->rows, j, work->least);

		work->groups->told[j] = shape.told;
		work->binary[j] = shape.values == 2;
		for (size_t i = 0; i < shape.values; i++)
			sum += work->values[i] * (double)work->people[i];
		work->centre[j] = shape.known ? sum / (double)shape.known : 0;
		for (size_t i = 0; i < shape.values; i++)
			squares += pow(work->values[i] - work->centre[j], 2) * (double)work->people[i];
		work->unit[j] = shape.told && squares > 0 ? sqrt((double)shape.known / squares) : 0;
	}
}

/* The row in comparable units, from the present set's mean; what is missing is in the middle. */
static void stand(struct halving *work, size_t row)
{
	for (size_t j = 0; j < work->data->columns; j++) {
		double value = raw(work->data, row, j);

		work->away[j] = (isnan(value) ? 0 : (value - work->centre[j]) * work->unit[j]) - work->mean[j];
	}
}

static double along(const struct halving *work)
{
	double sum = 0;

	for (size_t j = 0; j < work->data->columns; j++)
		sum += work->away[j] * work->axis[j];
	return sum;
}

/* The direction of the greatest spread of rows[begin, end), by power iteration from the column that spreads most. */
static void find_axis(struct halving *work, size_t begin, size_t end)
{
	const size_t *rows = work->groups->rows;
	size_t width = work->data->columns, widest = 0;

	memset(work->mean, 0, width * sizeof(double));
	memset(work->axis, 0, width * sizeof(double));
	memset(work->next, 0, width * sizeof(double));
	for (size_t i = begin; i < end; i++) {
		stand(work, rows[i]);
		for (size_t j = 0; j < width; j++)
			work->next[j] += work->away[j] / (double)(end - begin);
	}
	memcpy(work->mean, work->next, width * sizeof(double));
	memset(work->next, 0, width * sizeof(double));
	for (size_t i = begin; i < end; i++) {
		stand(work, rows[i]);
		for (size_t j = 0; j < width; j++)
			work->next[j] += work->away[j] * work->away[j];
	}
	for (size_t j = 1; j < width; j++)
		widest = work->next[j] > work->next[widest] ? j : widest;
	work->axis[widest] = 1;
}

static void turn_axis(struct halving *work, size_t begin, size_t end)
{
	size_t width = work->data->columns;
	double length = 0;

	memset(work->next, 0, width * sizeof(double));
	for (size_t i = begin; i < end; i++) {
		double share;

		stand(work, work->groups->rows[i]);
		share = along(work);
		for (size_t j = 0; j < width; j++)
			work->next[j] += share * work->away[j];
	}
	for (size_t j = 0; j < width; j++)
		length += work->next[j] * work->next[j];
	for (size_t j = 0; length > 0 && j < width; j++)
		work->axis[j] = work->next[j] / sqrt(length);
}

/* Sorts rows[begin, end) along the axis; returns where the second half begins. */
static size_t cut(struct halving *work, size_t begin, size_t end)
{
	size_t count = end - begin, margin = count / 3 > work->least ? count / 3 : work->least, best = margin;
	double widest = -1;

	for (size_t i = 0; i < count; i++) {
		size_t row = work->groups->rows[begin + i];

		stand(work, row);
		work->places[i] = (struct place){ along(work), row };
	}
	qsort(work->places, count, sizeof(*work->places), by_place);
	for (size_t i = 0; i < count; i++)
		work->groups->rows[begin + i] = work->places[i].row;
	for (size_t i = margin; i <= count - margin; i++) {
		double gap = work->places[i].at - work->places[i - 1].at;

		if (gap > widest) {
			widest = gap;
			best = i;
		}
	}
	return begin + best;
}

static void halve(struct halving *work, size_t begin, size_t end)
{
	size_t middle;

	if (end - begin < 2 * work->least) {
		work->groups->starts[work->groups->count++] = begin;
		return;
	}
	find_axis(work, begin, end);
	for (size_t i = 0; i < POWER_STEPS; i++)
		turn_axis(work, begin, end);
	middle = cut(work, begin, end);
	halve(work, begin, middle);
	halve(work, middle, end);
}

/* Mean and deviations of a group's column, if it may tell them. */
static void sum_up(struct halving *work, size_t group, size_t column)
{
	struct groups *groups = work->groups;
	size_t at = group * work->data->columns + column, start = groups->starts[group];
	struct column_shape shape = tally(work, groups->rows + start, groups->starts[group + 1] - start, column, 1);
	double sum = 0;

	groups->mean[at] = (double)NAN;
	if (!groups->told[column] || shape.known < work->least)
		return;
	/* That few of a group have the other of two values is no magnitude: the column as a whole has enough of both. */
	if (work->least > 1 && !work->binary[column] && shape.others > 0 &&
		cells_dominated(work->values, work->people, shape.values))
		return;
	for (size_t i = 0; i < shape.values; i++)
		sum += work->values[i] * (double)work->people[i];
	groups->mean[at] = sum / (double)shape.known;
	/* An outlier that the mean hides is not told by the inertia either, which is then too small by its part. */
	if (work->least > 1 && !work->binary[column] &&
		cells_squares_dominated(work->values, work->people, shape.values))
		return;
	for (size_t i = 0; i < shape.values; i++)
		groups->deviations[at] += pow(work->values[i] - groups->mean[at], 2) * (double)work->people[i];
}

static int make_room(struct halving *work, struct rounds_error *error)
{
	size_t rows = work->data->rows, columns = work->data->columns, most = rows / work->least;
	struct groups *groups = work->groups;

	groups->starts = calloc(most + 1, sizeof(size_t));
	groups->rows = calloc(rows, sizeof(size_t));
	groups->mean = calloc(most * columns, sizeof(double));
	groups->deviations = calloc(most * columns, sizeof(double));
	groups->told = calloc(columns, sizeof(bool));
	work->centre = calloc(6 * columns, sizeof(double));
	work->places = calloc(rows, sizeof(*work->places));
	work->values = calloc(rows, sizeof(double));
	work->people = calloc(rows, sizeof(size_t));
	work->binary = calloc(columns, sizeof(bool));
	if (!groups->starts || !groups->rows || !groups->mean || !groups->deviations || !groups->told ||
		!work->centre || !work->places || !work->values || !work->people || !work->binary)
		return error_no_memory(error);
	work->unit = work->centre + columns;
	work->mean = work->unit + columns;
	work->axis = work->mean + columns;
	work->next = work->axis + columns;
	work->away = work->next + columns;
	return 0;
}

static void make(struct halving *work)
{
	struct groups *groups = work->groups;
	size_t rows = work->data->rows;

	for (size_t row = 0; row < rows; row++)
		groups->rows[row] = row;
	judge_columns(work);
	for (size_t row = 0; work->least == 1 && row < rows; row++)
		groups->starts[groups->count++] = row;
	if (work->least > 1)
		halve(work, 0, rows);
	groups->starts[groups->count] = rows;
	for (size_t i = 0; i < groups->count; i++)
		for (size_t j = 0; j < work->data->columns; j++)
			sum_up(work, i, j);
}

int groups_make(const struct dataset *data, size_t least, struct groups *groups, struct rounds_error *error)
{
	struct halving work = { .data = data, .least = least, .groups = groups };
	int failed;

	*groups = (struct groups){ 0 };
	if (data->rows < least)
		return failure_error(error, FAILURE_TOO_FEW, "path", 0, 0,
			"this site has fewer rows than its min_cell: it tells nothing");
	failed = make_room(&work, error);
	if (!failed)
		make(&work);
	free(work.centre);
	free(work.places);
	free(work.values);
	free(work.people);
	free(work.binary);
	if (!failed)
		return 0;
	groups_free(*groups);
	*groups = (struct groups){ 0 };
	return -1;
}

void groups_free(struct groups groups)
{
	free(groups.starts);
	free(groups.rows);
	free(groups.mean);
	free(groups.deviations);
	free(groups.told);
}
