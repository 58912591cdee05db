/*
 * Federated analytics: sums over a site's rows that add up over sites, and give statistics of the whole.
 *
 * Every feature is a column, the label too (each of its classes one of 0 and 1, as the values of a category are). Tensors are
 * float64, named by what they hold:
 *
 *     first pass     COLUMN/count, /missing, /sum, /squares (of the values)
 *     second pass    those again, and with the mean and deviation of the whole, which come as the sums of the first pass:
 *                    COLUMN/deviations   sum of (x - mean)^2
 *                    COLUMN/histogram    counts in `bins` equal cells between mean -+ `sigmas` deviations; /below and /above
 *                    together/products   columns x columns: sum of (x - mean_x)(y - mean_y) over rows that have both
 *                    together/pairs      how many rows that is
 *                    together/both       how many rows have a 1 in both, for columns of 0 and 1: contingency tables
 *                    survival/events, survival/at_risk   per cell of time, for Kaplan and Meier's estimate
 *
 * The least and the greatest value are never told. Counts between 1 and `min_cell` - 1, which the site's own settings give,
 * are told as 0, with COLUMN/suppressed = 1; a column with so few values is told as if it were not there.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_STATISTICS_H
#define ROUNDS_CLIENT_TRAINERS_STATISTICS_H

#include "client/trainers/dataset.h"

/* Whether the task asks for statistics. */
bool statistics_asked(const json_t *task);

/* *result is {"weight", "metrics"} as in training_do. */
must_check int statistics_do(
	const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error);

#endif
