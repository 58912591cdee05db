#include "client/trainers/small_cells.h"

#include <math.h>
#include <stdlib.h>

/* Of the largest contribution, what the smaller ones must hide (the p of the p% rule). */
static const double HIDDEN_SHARE = 0.1;

/* Sums that are told of a column: as many values that few people share could be counted by solving for them. */
enum { EQUATIONS = 3 };

bool cell_may_be_told(size_t people, size_t least)
{
	return people == 0 || people >= least;
}

/* The missing are the greatest. */
static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	if (isnan(x) || isnan(y))
		return isnan(x) - isnan(y);
	return (x > y) - (x < y);
}

bool cells_dominated(const double *sorted, size_t count)
{
	double median, largest, second, rest = 0;
	size_t low = 0, high;

	if (count == 0)
		return false;
	median = sorted[count / 2];
	high = count - 1;
	/* The two that are furthest from the median are at the ends. */
	largest = fmax(median - sorted[low], sorted[high] - median);
	if (median - sorted[low] > sorted[high] - median)
		low++;
	else if (high > 0)
		high--;
	second = count > 1 ? fmax(median - sorted[low], sorted[high] - median) : 0;
	for (size_t i = 0; i < count; i++)
		rest += fabs(sorted[i] - median);
	return rest - largest - second < HIDDEN_SHARE * largest;
}

struct column_shape cells_judge_column(double *values, size_t count, size_t least)
{
	struct column_shape shape = { 0 };
	size_t most = 0, rare_people = 0, rare_values = 0, end;

	qsort(values, count, sizeof(*values), by_value);
	while (shape.known < count && !isnan(values[shape.known]))
		shape.known++;
	for (size_t i = 0; i < shape.known; i = end) {
		for (end = i + 1; end < shape.known && values[end] == values[i];)
			end++;
		shape.values++;
		if (end - i > most) {
			most = end - i;
			shape.mode = values[i];
		}
		if (end - i < least) {
			rare_people += end - i;
			rare_values++;
		}
	}
	shape.others = shape.known - most;
	shape.indicator = 2 * most >= shape.known;
	shape.told = shape.known >= least && cell_may_be_told(rare_people, least) &&
		     (rare_people == 0 || least == 1 || rare_values > EQUATIONS) &&
		     (least == 1 || shape.others == 0 || !cells_dominated(values, shape.known));
	return shape;
}
