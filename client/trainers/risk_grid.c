#include "client/trainers/risk_grid.h"

#include "client/trainers/small_cells.h"
#include "common/failure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the smaller hazards are of the largest, at least. */
static const double HIDDEN_SHARE = 0.1;

/* Who of the leaving is counted: everyone whose indicators say so; NONE: whatever they say. */
enum { NONE = -1, IS_MODE = 0, IS_OTHER = 1 };

struct series {
	size_t first, second; /* columns */
	int is_first, is_second;
	int event; /* 0, 1 or NONE */
};

struct counting {
	const struct risk_grid *grid;
	struct column_shape *shapes; /* columns, of the rows that are not left out */
	struct series *series;
	size_t count;
	double *values;
	size_t *people;
};

static double value_at(const struct risk_grid *grid, size_t row, size_t column)
{
	return (double)grid->data->features[row * grid->data->columns + column];
}

static int is_other(const struct counting *work, size_t row, size_t column)
{
	return value_at(work->grid, row, column) != work->shapes[column].mode ? IS_OTHER : IS_MODE;
}

static bool has_event(const struct risk_grid *grid, size_t row)
{
	return grid->data->labels[row] == 1;
}

/* By its name: "age", or "sex=f" of the column "sex". */
static size_t place_in_header(const struct dataset *data, size_t column)
{
	const char *name = json_string_value(json_array_get(data->names, column));

	for (size_t i = 0; i < data->header_count; i++) {
		size_t length = strlen(data->header[i].name);

		if (!strncmp(data->header[i].name, name, length) && (name[length] == '\0' || name[length] == '='))
			return i + 1;
	}
	return 0;
}

static int refuse(const struct risk_grid *grid, size_t column, const char *why, struct rounds_error *error)
{
	return failure_error(error, FAILURE_TOO_FEW, "path", 0, place_in_header(grid->data, column),
		"column \"%.100s\": %s; with this min_cell the site can take part only in a job without it",
		json_string_value(json_array_get(grid->data->names, column)), why);
}

static struct column_shape judge(struct counting *work, size_t column, bool events_only)
{
	const struct risk_grid *grid = work->grid;
	size_t count = 0, different;

	for (size_t row = 0; row < grid->data->rows; row++)
		if (grid->cells[row] < grid->bins && (!events_only || has_event(grid, row)))
			work->values[count++] = value_at(grid, row, column);
	different = cells_tally(work->values, count, work->people);
	return cells_judge(work->values, work->people, different, grid->least);
}

static int judge_columns(struct counting *work, struct rounds_error *error)
{
	for (size_t j = 0; j < work->grid->data->columns; j++) {
		struct column_shape with_event;

		if (j == work->grid->time)
			continue;
		work->shapes[j] = judge(work, j, false);
		if (!work->shapes[j].told_once)
			return refuse(work->grid, j, "too few rows differ in it, or one of them dominates", error);
		with_event = judge(work, j, true);
		if (with_event.known > 0 && !with_event.told_once)
			return refuse(work->grid, j,
				"too few of those who have the event differ in it, or one dominates", error);
	}
	return 0;
}

static bool counts(const struct counting *work, const struct series *series, size_t row)
{
	return work->grid->cells[row] < work->grid->bins &&
	       (series->event == NONE || series->event == has_event(work->grid, row)) &&
	       (series->is_first == NONE || series->is_first == is_other(work, row, series->first)) &&
	       (series->is_second == NONE || series->is_second == is_other(work, row, series->second));
}

static bool is_indicator(const struct counting *work, size_t column)
{
	return column != work->grid->time && work->shapes[column].indicator && work->shapes[column].others > 0;
}

/* Whether one of the four combinations never comes. */
static bool are_tied(const struct counting *work, size_t i, size_t j)
{
	size_t found[4] = { 0 };

	for (size_t row = 0; row < work->grid->data->rows; row++)
		if (work->grid->cells[row] < work->grid->bins)
			found[2 * is_other(work, row, i) + is_other(work, row, j)]++;
	return !found[0] || !found[1] || !found[2] || !found[3];
}

static void list_series(struct counting *work)
{
	size_t columns = work->grid->data->columns;

	for (int event = 0; event < 2; event++)
		work->series[work->count++] = (struct series){ 0, 0, NONE, NONE, event };
	for (size_t i = 0; i < columns; i++) {
		if (!is_indicator(work, i))
			continue;
		for (int other = IS_MODE; other <= IS_OTHER; other++)
			work->series[work->count++] = (struct series){ i, 0, other, NONE, NONE };
		for (size_t j = 0; j < i; j++)
			for (int at = 0; is_indicator(work, j) && are_tied(work, i, j) && at < 4; at++)
				work->series[work->count++] = (struct series){ i, j, at / 2, at % 2, NONE };
	}
}

static int merge(struct counting *work, struct rounds_error *error)
{
	const struct risk_grid *grid = work->grid;
	size_t n = work->count, *last;
	scoped(free) void *room = calloc((grid->bins + 1) * n, sizeof(size_t));
	size_t *totals = room;

	if (!room)
		return error_no_memory(error);
	for (size_t row = 0; row < grid->data->rows; row++)
		for (size_t i = 0; i < n; i++)
			if (counts(work, &work->series[i], row))
				totals[(grid->cells[row] + 1) * n + i]++;
	for (size_t i = n; i < (grid->bins + 1) * n; i++)
		totals[i] += totals[i - n];
	if (cells_merge(totals, n, grid->bins, grid->least, NULL, grid->begins))
		return 0;
	last = totals + grid->bins * n;
	for (size_t i = 0; i < n; i++)
		if (!cell_may_be_told(last[i], grid->least) && work->series[i].is_first != NONE)
			return refuse(
				grid, work->series[i].first, "too few rows differ in it from another column", error);
	return failure_error(error, FAILURE_TOO_FEW, "path", 0, 0,
		"fewer rows than min_cell have the event, or have it not: the site tells nothing");
}

int risk_grid_merge(struct risk_grid *grid, struct rounds_error *error)
{
	size_t rows = grid->data->rows, columns = grid->data->columns;
	struct counting work = { .grid = grid };
	int failed;

	work.shapes = calloc(columns, sizeof(*work.shapes));
	work.series = calloc(2 + 2 * columns * columns + 2 * columns, sizeof(*work.series));
	work.values = calloc(rows + 1, sizeof(double));
	work.people = calloc(rows + 1, sizeof(size_t));
	failed = work.shapes && work.series && work.values && work.people ? judge_columns(&work, error)
									  : error_no_memory(error);
	if (!failed) {
		list_series(&work);
		failed = merge(&work, error);
	}
	free(work.shapes);
	free(work.series);
	free(work.values);
	free(work.people);
	return failed ? -1 : 0;
}

int risk_grid_hides(const struct risk_grid *grid, const double *hazards, struct rounds_error *error)
{
	scoped(free) void *room = calloc(3 * grid->bins, sizeof(double)), *begun = calloc(grid->bins, sizeof(size_t));
	double(*greatest)[3] = room; /* the largest, the second, the sum */
	size_t *begins = begun;

	if (!room || !begun)
		return error_no_memory(error);
	for (size_t i = 0; i < grid->bins; i++)
		begins[i] = grid->begins[i] ? i : begins[i - 1];
	for (size_t row = 0; row < grid->data->rows; row++) {
		double *cell, hazard = hazards[row];

		if (grid->cells[row] >= grid->bins)
			continue;
		cell = greatest[begins[grid->cells[row]]];
		cell[1] = fmax(cell[1], fmin(hazard, cell[0]));
		cell[0] = fmax(cell[0], hazard);
		cell[2] += hazard;
	}
	for (size_t i = 0; i < grid->bins; i++)
		if (!(greatest[i][2] - greatest[i][0] - greatest[i][1] >= HIDDEN_SHARE * greatest[i][0]))
			return failure_error(error, FAILURE_TOO_FEW, "", 0, 0,
				"with these coefficients one row's hazard is most of what a cell of time would tell");
	return 0;
}
