/*
 * The point with the least sum of distances to the updates.
 * Pillutla, Kakade, Harchaoui, Robust Aggregation for Federated Learning, 2019 (RFA): smoothed Weiszfeld iterations. All
 * iterates are mixtures of the inputs, so their distances to the inputs follow from the Gram matrix alone:
 * |x_i - sum w_j x_j|^2 = Gii - 2 (Gw)_i + w'Gw.
 */
#include "server/aggregate/aggregators.h"
#include "server/aggregate/kernels.h"

#include <math.h>

static int weigh(struct preparation *preparation, struct rounds_error *error)
{
	enum { ITERATIONS = 1000 };
	const double smoothing = 1e-6;
	size_t n = preparation->count;
	scoped(free) void *room = calloc(2 * n, sizeof(double));
	double *weights = room, *products = weights + n;

	if (!room)
		return error_no_memory(error);
	for (size_t i = 0; i < n; i++)
		weights[i] = (double)preparation->weights[i];
	for (int iteration = 0; iteration < ITERATIONS; iteration++) {
		double square = 0, sum = 0, moved = 0;

		for (size_t i = 0; i < n; i++) {
			products[i] = 0;
			for (size_t j = 0; j < n; j++)
				products[i] += preparation->gram[i * n + j] * weights[j];
			square += weights[i] * products[i];
		}
		for (size_t i = 0; i < n; i++) {
			double apart = sqrt(fmax(preparation->gram[i * n + i] - 2 * products[i] + square, 0));

			products[i] = (double)preparation->weights[i] / fmax(smoothing, apart);
			sum += products[i];
		}
		for (size_t i = 0; i < n; i++) {
			moved += fabs(products[i] / sum - weights[i]);
			weights[i] = products[i] / sum;
		}
		if (moved < 1e-13)
			break;
	}
	for (size_t i = 0; i < n; i++)
		preparation->weights[i] = (long double)weights[i];
	return 0;
}

const struct aggregator aggregator_geometric_median = {
	.name = "geometric_median",
	.is_offered = true,
	.needs_gram = true,
	.prepare = weigh,
	.kernel = kernel_mean,
};
