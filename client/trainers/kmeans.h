/*
 * K-means (Lloyd, Least squares quantization in PCM, 1982), a site's half of an iteration: every row goes to its nearest center,
 * and the sums and counts of each center's rows leave the site. The server divides (server/aggregate/kmeans_step.h), so the
 * result is that of the pooled data.
 *
 * Tensors, float64: centers (k x features), counts (k), and mean and scale of the site that made the model, by which
 * all sites scale their features. The first centers are drawn around that mean: no row of anyone's data.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_KMEANS_H
#define ROUNDS_CLIENT_TRAINERS_KMEANS_H

#include "client/trainers/dataset.h"

bool kmeans_asked(const json_t *task);

/* *result is {"weight", "metrics"}: inertia, the mean squared distance (in scaled features) to the nearest center. */
must_check int kmeans_do(
	const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error);

#endif
