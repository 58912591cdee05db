/*
 * Federated analytics: sums over a site's rows that add up over sites, and give statistics of the whole.
 *
 * Every feature is a column, the label too (each of its classes one of 0 and 1, as the values of a category are). Tensors are
 * float64, named by what they hold, and by columns' names that may leave the site (names.h):
 *
 *     first pass     COLUMN/count, /missing, /sum, /squares (of the values); /sites: 1 if this site tells them
 *     second pass    those again, and with the mean and deviation of the whole, which come as the sums of the first pass:
 *                    COLUMN/deviations   sum of (x - mean)^2
 *                    COLUMN/histogram    counts in `bins` equal cells between mean -+ `sigmas` deviations; /below and /above
 *                    COLUMN/edges        bins + 1: 1 where a cell of the histogram begins, or ends, that this site tells
 *                    together/products   columns x columns: sum of (x - mean_x)(y - mean_y) over rows that have both
 *                    together/squares    sum of (x - mean_x)^2 over the same rows, and together/pairs how many these are
 *                    together/both       how many rows have a 1 in both, for columns of 0 and 1: contingency tables
 *                    together/suppressed 1 where the pair is kept back: then the others hold 0
 *                    survival/events, survival/at_risk   per cell of time, for Kaplan and Meier's estimate; survival/edges
 *                    survival/told       1 if this site tells it; together/answered: 1
 *
 * The least and the greatest value are never told. What else is not follows from `min_cell`, which the site's own settings give
 * (guarded_table.h, kaplan_meier.h). A column or pair that a site keeps back is told as if the site had no such rows, with
 * COLUMN/suppressed = 1. Cells are merged until they may be told; they hold what they are merged of in the last, and the pooled
 * result is right on the grid of those edges that every site tells: where /edges sums up to together/answered.
 *
 * A job asks a site for one second pass of one table (cells_ask_once). Another job may ask for other cells: what two jobs tell may
 * differ by few people, and only who looks at the jobs of a site can see to that.
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
