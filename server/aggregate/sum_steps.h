/*
 * Steps from sums over all sites to the next model, for workflows whose updates are sums and not models: k-means and Cox
 * regression. Models and sums are float64 tensors, as client/trainers/kmeans.h and cox.h tell.
 */
#ifndef ROUNDS_SERVER_AGGREGATE_SUM_STEPS_H
#define ROUNDS_SERVER_AGGREGATE_SUM_STEPS_H

#include "common/view.h"

/* A center without rows stays where it is. */
must_check int kmeans_step(
	const struct view *model, const struct view *sums, const struct sink *output, struct rounds_error *error);

/*
 * A Newton step of Breslow's partial likelihood, less ridge / 2 * beta^2: beta + H^-1 g, on the cells of time that every site tells.
 * ERROR_UNPROCESSABLE names the covariate if H is not positive definite.
 */
must_check int cox_step(const struct view *model, const struct view *sums, const struct sink *output, double ridge,
	struct rounds_error *error);

#endif
