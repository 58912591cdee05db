#include "client/trainers/risk_grid.h"

#include "client/trainers/dominance.h"
#include "common/failure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A hazard that grows by e with a covariate's spread: as strong as effects are, so that weights of that strength tell no one apart. */
static const double TILT = 1;

/* Who of the leaving is counted: everyone whose indicators say so; NONE: whatever they say. */
enum { NONE = -1, IS_MODE = 0, IS_OTHER = 1 };

struct series {
	size_t first, second; /* columns */
	int is_first, is_second;
	int event; /* 0, 1 or NONE */
};

struct counting {
	struct risk_grid *grid;
	struct column_shape *shapes; /* columns, of the rows that are not left out */
	double *medians;             /* likewise */
	struct series *series;
	size_t count;
	double *values;
	size_t *people;
};

double risk_grid_value(const struct risk_grid *grid, size_t row, size_t column)
{
	double value = (double)grid->data->features[row * grid->data->columns + column];

	return grid->bounds ? fmin(fmax(value, grid->bounds[column].low), grid->bounds[column].high) : value;
}

size_t risk_grid_bounded(const struct risk_grid *grid, size_t column)
{
	size_t count = 0;

	for (size_t row = 0; grid->bounds && row < grid->data->rows; row++) {
		double value = risk_grid_value(grid, row, column);

		count += grid->cells[row] < grid->bins &&
			 (value == grid->bounds[column].low || value == grid->bounds[column].high);
	}
	return count;
}

static int is_other(const struct counting *work, size_t row, size_t column)
{
	return risk_grid_value(work->grid, row, column) != work->shapes[column].mode ? IS_OTHER : IS_MODE;
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

static size_t tally(struct counting *work, size_t column, bool events_only)
{
	const struct risk_grid *grid = work->grid;
	size_t count = 0;

	for (size_t row = 0; row < grid->data->rows; row++)
		if (grid->cells[row] < grid->bins && (!events_only || has_event(grid, row)))
			work->values[count++] = risk_grid_value(grid, row, column);
	return cells_tally(work->values, count, work->people);
}

static struct column_shape judge(struct counting *work, size_t column, bool events_only)
{
	size_t different = tally(work, column, events_only);

	return cells_judge(work->values, work->people, different, work->grid->least);
}

/* Of everyone. Where there are enough others, one who would dominate is bounded. */
static struct column_shape judge_bounded(struct counting *work, size_t column)
{
	struct column_shape shape = judge(work, column, false);
	size_t least = work->grid->least;

	if (shape.known < least || shape.others < least)
		return shape;
	work->grid->bounds[column] = cells_bound(work->values, work->people, tally(work, column, false), least, TILT);
	return judge(work, column, false);
}

static int judge_columns(struct counting *work, struct rounds_error *error)
{
	for (size_t j = 0; j < work->grid->data->columns; j++) {
		struct column_shape with_event;

		work->grid->bounds[j] = (struct bounds){ -HUGE_VAL, HUGE_VAL };
		if (j == work->grid->time)
			continue;
		work->shapes[j] = judge_bounded(work, j);
		work->medians[j] = cells_median(work->values, work->people, tally(work, j, false));
		if (!work->shapes[j].told_squares)
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

/* What rows add to sums over those who leave, and to sums of squares: each covariate twice, and the weights themselves. */
static struct dominance *contributions(const struct risk_grid *grid, const double *medians, const double *weights)
{
	size_t columns = grid->data->columns, series = 2 * columns + 1;
	scoped(free) void *room = calloc(series, sizeof(bool));
	bool *squares = room;
	struct dominance *made;

	for (size_t j = 0; squares && j < columns; j++)
		squares[columns + j] = true;
	made = squares ? dominance_new(grid->bins, series, squares) : NULL;
	for (size_t row = 0; made && row < grid->data->rows; row++) {
		double weight = weights ? weights[row] : 1;
		size_t cell = grid->cells[row];

		if (cell == grid->bins)
			continue;
		dominance_add(made, 2 * columns, cell, weights ? weight : 0);
		for (size_t j = 0; j < columns; j++) {
			double away = j == grid->time ? 0 : fabs(risk_grid_value(grid, row, j) - medians[j]);

			dominance_add(made, j, cell, weight * away);
			dominance_add(made, columns + j, cell, weight * away * away);
		}
	}
	if (made)
		dominance_settle(made);
	return made;
}

static int refuse_all(const struct counting *work, const size_t *last, struct rounds_error *error)
{
	const struct risk_grid *grid = work->grid;

	for (size_t i = 0; i < work->count; i++)
		if (!cell_may_be_told(last[i], grid->least) && work->series[i].is_first != NONE)
			return refuse(
				grid, work->series[i].first, "too few rows differ in it from another column", error);
	return failure_error(error, FAILURE_TOO_FEW, "path", 0, 0,
		"fewer rows than min_cell have the event, or have it not: the site tells nothing");
}

static int merge(struct counting *work, struct rounds_error *error)
{
	const struct risk_grid *grid = work->grid;
	size_t n = work->count;
	scoped(free) void *room = calloc((grid->bins + 1) * n, sizeof(size_t));
	scoped(dominance_free) struct dominance *dominance = contributions(grid, work->medians, NULL);
	size_t *totals = room;
	const struct cell_rules rules = { totals, n, grid->least, NULL, dominance_hides, dominance };

	if (!room || !dominance)
		return error_no_memory(error);
	for (size_t row = 0; row < grid->data->rows; row++)
		for (size_t i = 0; i < n; i++)
			if (counts(work, &work->series[i], row))
				totals[(grid->cells[row] + 1) * n + i]++;
	for (size_t i = n; i < (grid->bins + 1) * n; i++)
		totals[i] += totals[i - n];
	return cells_merge(&rules, grid->bins, grid->begins) ? 0 : refuse_all(work, totals + grid->bins * n, error);
}

static int make_room(struct counting *work, struct rounds_error *error)
{
	size_t rows = work->grid->data->rows, columns = work->grid->data->columns;

	work->shapes = calloc(columns, sizeof(*work->shapes));
	work->series = calloc(2 + 2 * columns * columns + 2 * columns, sizeof(*work->series));
	work->values = calloc(rows + 1, sizeof(double));
	work->people = calloc(rows + 1, sizeof(size_t));
	work->medians = calloc(columns, sizeof(double));
	return work->shapes && work->series && work->values && work->people && work->medians ? 0
											     : error_no_memory(error);
}

static void counting_free(struct counting work)
{
	free(work.shapes);
	free(work.series);
	free(work.values);
	free(work.people);
	free(work.medians);
}
DEFINE_CLEANUP(struct counting, counting_free);

int risk_grid_merge(struct risk_grid *grid, struct rounds_error *error)
{
	scoped(counting_free) struct counting work = { .grid = grid };

	if (make_room(&work, error) || judge_columns(&work, error))
		return -1;
	list_series(&work);
	return merge(&work, error);
}

int risk_grid_weigh(struct risk_grid *grid, const double *hazards, struct rounds_error *error)
{
	scoped(counting_free) struct counting work = { .grid = grid };
	scoped(dominance_free) struct dominance *dominance = NULL;
	scoped(free) void *room = malloc(grid->bins * sizeof(bool));
	struct cell_rules rules = { .least = grid->least, .allowed = room, .may_stand = dominance_hides };

	if (!room || make_room(&work, error))
		return error_no_memory(error);
	for (size_t j = 0; j < grid->data->columns; j++)
		work.medians[j] = cells_median(work.values, work.people, tally(&work, j, false));
	rules.context = dominance = contributions(grid, work.medians, hazards);
	if (!dominance)
		return error_no_memory(error);
	memcpy(room, grid->begins, grid->bins * sizeof(bool));
	if (cells_merge(&rules, grid->bins, grid->begins))
		return 0;
	return failure_error(error, FAILURE_TOO_FEW, "", 0, 0,
		"with these coefficients one row is most of what the sums would tell");
}
