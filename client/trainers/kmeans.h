/*
 * K-means (Lloyd, Least squares quantization in PCM, 1982), a site's half of an iteration: every row goes to its nearest center,
 * and the sums and counts of each center's rows leave the site. The server divides (server/aggregate/kmeans_step.h), so the
 * result is that of the pooled data where `min_cell` is 1.
 *
 * With a greater `min_cell` it is not rows that go to their nearest center but groups of at least so many rows that resemble each
 * other (microaggregation.h), with the group's mean: Lloyd's rounds would else tell a row whenever it alone moves from one center
 * to another, and so would a model with a center beside one row. A job may ask for at most rows / min_cell centers.
 *
 * Tensors, float64: centers (k x features), counts (k), and mean and scale of the site that made the model, by which
 * all sites scale their features. The first centers are drawn around that mean: no row of anyone's data. Columns that the site
 * may not tell count like missing values: 0 and 1 in mean and scale, and in every round whatever they are compared with.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_KMEANS_H
#define ROUNDS_CLIENT_TRAINERS_KMEANS_H

#include "client/trainers/dataset.h"

bool kmeans_asked(const json_t *task);

/*
 * *result is {"weight", "metrics"}: inertia, the mean squared distance (in scaled features) to the nearest center; with a guard, without
 * what groups that one row dominates would add.
 */
must_check int kmeans_do(
	const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error);

#endif
