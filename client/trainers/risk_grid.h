/*
 * In which cells of time a site may tell the sums over its risk sets: two neighbours differ by those who leave in between, so these
 * are what is told. Cells are merged until in each nobody or at least `least` have the event, nobody or at least `least` leave
 * without it, and of those who leave nobody or at least `least` have, and have not, what an indicator says; likewise for two
 * indicators of which one says something about the other, such as two values of a category.
 *
 * Covariates that may not be summed at all (small_cells.h), over everyone or over those with the event, are refused: the site
 * takes no part. The grid follows from the table alone, not from the coefficients.
 *
 * Not held: of those who leave in one cell it is told how many have both of two indicators that have nothing to do with each other;
 * and who sends many coefficients of his choice can solve for covariates of the few who leave in one cell, since exp is not
 * linear (dominance is refused: risk_grid_hides).
 */
#ifndef ROUNDS_CLIENT_TRAINERS_RISK_GRID_H
#define ROUNDS_CLIENT_TRAINERS_RISK_GRID_H

#include "client/trainers/dataset.h"

struct risk_grid {
	const struct dataset *data;
	size_t time, bins, least; /* the column of times */
	size_t *cells;            /* rows: the cell; bins: the row is left out */
	bool *begins;             /* bins: a merged cell begins here */
};

/* Fills `begins` (bins elements, the caller's). ERROR_INVALID names the column that is about too few. */
must_check int risk_grid_merge(struct risk_grid *grid, struct rounds_error *error);

/* Whether nobody's hazard hides the others' of those who leave in a cell (the p% rule): hazards of rows that are not left out. */
must_check int risk_grid_hides(const struct risk_grid *grid, const double *hazards, struct rounds_error *error);

#endif
