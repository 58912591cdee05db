/*
 * Rows in groups of at least `least` that resemble each other, of which only sums are used: k-anonymous microaggregation
 * (Domingo-Ferrer and Mateo-Sanz, Practical data-oriented microaggregation for statistical disclosure control, 2002). Groups
 * are made by halving: a set of rows is cut across the direction of its greatest spread (as in PDDP: Boley, Principal direction
 * divisive partitioning, 1998), at the widest gap of the middle third, until a half would be too small.
 *
 * They follow from the data alone, never from what a job asks. So whatever an algorithm makes of them, in however many rounds
 * and jobs and with whatever models, any two of its answers differ by whole groups: none tells of fewer than `least` people, alone
 * or by difference.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_MICROAGGREGATION_H
#define ROUNDS_CLIENT_TRAINERS_MICROAGGREGATION_H

#include "client/trainers/dataset.h"

struct groups {
	size_t count;
	size_t *starts; /* count + 1: where each begins in `rows` */
	size_t *rows;   /* of the dataset */
	/* count x columns; NaN where the group does not tell the column: too few of its rows have a value, or one dominates. */
	double *mean;
	double *deviations; /* sum of (x - mean)^2 over the group's rows that have a value; 0 where the mean is NaN */
	bool *told;         /* columns; what small_cells.h says of the column as a whole */
};

/*
 * With `least` 1 every row is a group, in the order of rows, and its values are the means. ERROR_INVALID if there are fewer rows
 * than `least`. Takes rows * columns * log(rows / least) steps.
 */
must_check int groups_make(
	const struct dataset *data, size_t least, struct groups *groups, struct rounds_error *error);
void groups_free(struct groups groups);

#endif
