/*
 * Cox regression (Cox, Regression models and life-tables, 1972) with Breslow's treatment of ties, a site's half of a Newton step:
 * the sums over risk sets that the gradient and the Hessian of the whole partial likelihood are made of. They add up over
 * sites, so the estimate is that of the pooled data, not a mean of the sites' own.
 *
 * The dataset's label is 1 where the event was seen and 0 where it was not; the job names the column of times, whose values are
 * put on a grid of `bins` cells up to `time_max`. Where times are whole units and cells are units, nothing is lost. Rows
 * with missing values are left out.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_COX_H
#define ROUNDS_CLIENT_TRAINERS_COX_H

#include "client/trainers/dataset.h"

bool cox_asked(const json_t *task);

/* *result is {"weight", "metrics"}. */
must_check int cox_do(const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error);

#endif
