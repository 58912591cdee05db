/*
 * In which cells of time a site may tell the sums over its risk sets: two neighbours differ by those who leave in between, so these
 * are what is told. Cells are merged until in each nobody or at least `least` have the event, nobody or at least `least` leave
 * without it, and of those who leave nobody or at least `least` have, and have not, what an indicator says; likewise for two
 * indicators of which one says something about the other, such as two values of a category; and until nobody's distance from a
 * covariate's median, or the square of it, dominates (small_cells.h) what those who leave add up to.
 *
 * A covariate of which one patient has so extreme a value that even all rows together would tell it is bounded first (top and
 * bottom coding): at least `least` rows then have the bound, and the answer says how many. Covariates that may not be summed even
 * so, over everyone or over those with the event, are refused: the site takes no part.
 *
 * The grid follows from the table alone, not from the coefficients. With them, hazards weigh the sums: where one patient's then
 * dominates, cells of that grid are merged for this answer (risk_grid_weigh), and the answers of a job never tell a finer one.
 *
 * Not held: of those who leave in one cell it is told how many have both of two indicators that have nothing to do with each other;
 * dominance is not looked at in products of two covariates; and who sends many coefficients of his choice can solve for covariates
 * of the few who leave in one cell, since exp is not linear.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_RISK_GRID_H
#define ROUNDS_CLIENT_TRAINERS_RISK_GRID_H

#include "client/trainers/dataset.h"
#include "client/trainers/small_cells.h"

struct risk_grid {
	const struct dataset *data;
	size_t time, bins, least; /* the column of times */
	size_t *cells;            /* rows: the cell; bins: the row is left out */
	bool *begins;             /* bins: a merged cell begins here */
	struct bounds *bounds;    /* columns: what lies beyond is set to the bound; NULL: there are none */
};

/* The row's value, within the bounds. */
double risk_grid_value(const struct risk_grid *grid, size_t row, size_t column);

/* How many of the rows that are not left out have a bound of the column as their value: 0, or at least `least`. */
size_t risk_grid_bounded(const struct risk_grid *grid, size_t column);

/* Fills `begins` (bins elements) and `bounds`, the caller's. ERROR_INVALID names the column that is about too few. */
must_check int risk_grid_merge(struct risk_grid *grid, struct rounds_error *error);

/*
 * Merges further until nobody's hazard (of rows that are not left out), nor it times a covariate's distance from the median or the
 * square of that, dominates a cell. ERROR_INVALID if it does even in all of them together.
 */
must_check int risk_grid_weigh(struct risk_grid *grid, const double *hazards, struct rounds_error *error);

#endif
