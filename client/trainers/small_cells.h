/*
 * The guard of small cells: what a site may tell of its rows in sums (statistics, k-means, survival, Cox regression). All that is
 * decided about it is decided here and in microaggregation.h; `least` is the dataset's `min_cell`, and 1 means no guard.
 *
 * Rules of statistical disclosure control (Hundepool and others, Statistical Disclosure Control, 2012; Brandt and others, Guidelines
 * for the checking of output based on microdata research, 2010):
 *
 *     minimum frequency  a number is of nobody or of at least `least` people. That holds for the people whom a sum is
 *                        about: of an indicator those with a one, and also those with a zero, who are the rest.
 *     dominance          the p% rule: who knows a sum and the second largest contribution must not know the largest to within
 *                        p = 10%. Contributions are counted from the median.
 *     differencing       what is told must not tell small cells when it is subtracted. Kept back are therefore the complements,
 *                        too (secondary suppression), until what is told is safe together.
 *
 * A site cannot see what others tell, so each guards its own sums; where a sum is all that anyone will see (secure aggregation),
 * the same functions can be asked about the sum's counts.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_SMALL_CELLS_H
#define ROUNDS_CLIENT_TRAINERS_SMALL_CELLS_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Nobody, or enough people. */
bool cell_may_be_told(size_t people, size_t least);

/* How a column's values are spread over people. */
struct column_shape {
	size_t known;   /* rows that have a value */
	double mode;    /* the value that most of them have; the least one of several */
	size_t others;  /* how many have another */
	size_t values;  /* how many different ones there are */
	bool indicator; /* at least half of them have the mode: what the column tells is who has not */
	bool told; /* whether sums over all rows, alone or weighted by other columns, tell of enough people each */
};

/*
 * A column is not told if fewer than `least` rows have a value; if the values that fewer than `least` share belong to fewer than
 * `least` people in all, or are at most three (count, sum and sum of squares are three equations for how many have each); or
 * if one row dominates. `values` holds `count` numbers, NaN where missing, and is left sorted, the missing at its end.
 */
struct column_shape cells_judge_column(double *values, size_t count, size_t least);

/* The p% rule alone, of known values in ascending order. */
bool cells_dominated(const double *sorted, size_t count);

#endif
