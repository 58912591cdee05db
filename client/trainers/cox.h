/*
 * Cox regression (Cox, Regression models and life-tables, 1972) with Breslow's treatment of ties, a site's half of a Newton step:
 * the sums over risk sets that the gradient and the Hessian of the whole partial likelihood are made of. They add up over
 * sites, so the estimate is that of the pooled data, not a mean of the sites' own.
 *
 * The dataset's label is 1 where the event was seen and 0 where it was not; the job names the column of times, whose values are
 * put on a grid of `bins` cells up to `time_max`. Where times are whole units and cells are units, nothing is lost. Rows
 * with missing values are left out. All other features are covariates, but for the first value of each category: it is what the
 * others are compared with (the reference level). First is the first in the model's schema (schema.h): that which the job's
 * trainer.categories lists first, else the first by the alphabet.
 *
 * Model, float64: beta, standard_error, hazard_ratio = exp(beta), p_value (Wald's, two-sided) and bounded (how many rows have a bound
 * in place of an extreme value, risk_grid.h) for each covariate, whose names (names.h) are the JSON list __metadata__["rounds.covariates"]; log_likelihood; baseline_hazard and grid for each cell of time: 1 where a
 * cell begins on the grid that the estimate is of.
 *
 * Sums, for each cell of time: risk, risk_x and risk_xx of those at risk when it begins, events in it; edges, 1 where a cell
 * begins that this site tells (risk_grid.h); events_x of all; bounded of all; sites: 1. With a `min_cell` over 1 all cells that are merged hold
 * the first's risk sets, and the last of them the events. The estimate is that of the pooled data on the cells that every site
 * tells: where they are coarse, many events are ties, and Breslow's likelihood pulls the coefficients towards 0.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_COX_H
#define ROUNDS_CLIENT_TRAINERS_COX_H

#include "client/trainers/dataset.h"

bool cox_asked(const json_t *task);

/* *result is {"weight", "metrics"}. */
must_check int cox_do(const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error);

#endif
