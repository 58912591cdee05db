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

#include "client/trainers/dataset.h"

/* Nobody, or enough people. */
bool cell_may_be_told(size_t people, size_t least);

/* Sorts values; the known ones' different values remain in front, and people[i] is how many have the i-th. Returns how many. */
size_t cells_tally(double *values, size_t count, size_t *people);

/* The value of the person in the middle; 0 if there is nobody. */
double cells_median(const double *values, const size_t *people, size_t count);

/* How a column's values are spread over people. */
struct column_shape {
	size_t known;      /* rows that have a value */
	size_t values;     /* different ones */
	double mode;       /* the value that most of them have; the least one of several */
	size_t others;     /* how many have another */
	bool indicator;    /* at least half of them have the mode: what the column tells is who has not */
	bool told;         /* whether count, sum and sum of squares tell of enough people each */
	bool told_once;    /* whether a sum alone does */
	bool told_squares; /* whether a sum and one of squares do, whatever they tell of rare values */
};

/*
 * What a tally says of a column. It is not told if fewer than `least` rows have a value; if fewer than `least` have another
 * than the mode, or one row dominates (told_once asks no more than that); if the values that fewer than `least` share belong to
 * fewer than `least` people in all, or are at most three: count, sum and squares are equations for how many have each.
 */
struct column_shape cells_judge(const double *values, const size_t *people, size_t count, size_t least);

/* The p% rule alone: of a sum, and of a sum of squares, which gives a single outlier away where the sum does not. */
bool cells_dominated(const double *values, const size_t *people, size_t count);
bool cells_squares_dominated(const double *values, const size_t *people, size_t count);
/* The same of contributions of which only the sum and the two greatest are known. */
bool contributions_dominated(double sum, double greatest, double second, bool squares);

/*
 * Top and bottom coding: bounds of a column's values such that its sum and that of its squares are not dominated once what lies
 * beyond is set to the bound, which at least `least` people then have; nor are the squares where each weighs exp(tilt z) or
 * exp(-tilt z), z its distance from the median in their root mean square. The end that lies further from the median is bounded
 * first, the other one only if that is not enough; infinite where there is no bound. Changes `values`; `least` is over 1.
 */
struct bounds {
	double low, high;
};
struct bounds cells_bound(double *values, const size_t *people, size_t count, size_t least, double tilt);

/*
 * Cells in a row (of a histogram, of time) are merged until each holds nobody or at least `least` in every series. The cuts are
 * tried in the order of repeated halving, at every site the same, so that most sites end with the same cells.
 *
 * begins[i] becomes whether a merged cell begins with cell i. Returns whether the cells may be told: not if all of them together
 * may not.
 */
struct cell_rules {
	const size_t *totals; /* (cells + 1) x series: what lies before each cell, so its first line is 0 */
	size_t series, least;
	const bool *allowed; /* where a merged cell may begin; NULL: everywhere */
	/* Whether the merged cell [begin, end) may be told for its own reasons; NULL: it may. Asked where it holds enough people. */
	bool (*may_stand)(const void *context, size_t begin, size_t end);
	const void *context;
};
bool cells_merge(const struct cell_rules *rules, size_t cells, bool *begins);

/*
 * Sees to it that a job asks one question of one table: what is asked another time, or of other rows, would be told with
 * cells that differ by few people. `question` and a digest of the table are kept in `own`, the directory that the job has at this
 * site; another question of the same `name` is ERROR_INVALID. Without `own` nothing is held.
 */
must_check int cells_ask_once(const char *own, const char *name, const json_t *question, const struct dataset *data,
	struct rounds_error *error);

#endif
