/*
 * The change that the sites ask for is taken as a gradient, and a server optimizer steps along it. Reddi et al., Adaptive
 * Federated Optimization, ICLR 2021, algorithm 2; momentum: Hsu et al., Measuring the Effects of Non-Identical Data Distribution
 * for Federated Visual Classification, 2019 (FedAvgM).
 *
 *     sgd       x + rate d
 *     momentum  m = beta1 m + d                                        x + rate m
 *     adagrad   m = beta1 m + (1 - beta1) d   v = v + d^2              x + rate m / (sqrt v + tau)
 *     yogi      m = ...                       v = v - (1 - beta2) d^2 sign(v - d^2)
 *     adam      m = ...                       v = beta2 v + (1 - beta2) d^2
 *
 * with m = 0 and v = tau^2 at first. Params: {"rate", "beta1", "beta2", "tau", "mean_only"}.
 */
#include "server/aggregate/element_step.h"
#include "server/aggregate/server_steps.h"

#include <math.h>

void step_along(struct chunk *chunk, const struct rates *rates)
{
	for (size_t i = 0; i < chunk->count; i++)
		chunk->x[i] += rates->rate * (chunk->y[i] - chunk->x[i]);
}

static void step_momentum(struct chunk *chunk, const struct rates *rates)
{
	double *m = chunk->states[0];

	for (size_t i = 0; i < chunk->count; i++) {
		m[i] = rates->beta1 * m[i] + (chunk->y[i] - chunk->x[i]);
		chunk->x[i] += rates->rate * m[i];
	}
}

/* The three adaptive ones differ in how v remembers. */
typedef double second_moment_fn(double v, double square, const struct rates *rates);

static double adagrad(double v, double square, const struct rates *rates)
{
	(void)rates;
	return v + square;
}

static double yogi(double v, double square, const struct rates *rates)
{
	double sign = v > square ? 1 : v < square ? -1 : 0;

	return v - (1 - rates->beta2) * square * sign;
}

static double adam(double v, double square, const struct rates *rates)
{
	return rates->beta2 * v + (1 - rates->beta2) * square;
}

static void adapt(struct chunk *chunk, const struct rates *rates, second_moment_fn *remember)
{
	double *m = chunk->states[0], *v = chunk->states[1];

	for (size_t i = 0; i < chunk->count; i++) {
		double change = chunk->y[i] - chunk->x[i];

		m[i] = rates->beta1 * m[i] + (1 - rates->beta1) * change;
		v[i] = remember(v[i], change * change, rates);
		chunk->x[i] += rates->rate * m[i] / (sqrt(v[i]) + rates->tau);
	}
}

static void step_adagrad(struct chunk *chunk, const struct rates *rates)
{
	adapt(chunk, rates, adagrad);
}

static void step_yogi(struct chunk *chunk, const struct rates *rates)
{
	adapt(chunk, rates, yogi);
}

static void step_adam(struct chunk *chunk, const struct rates *rates)
{
	adapt(chunk, rates, adam);
}

const struct server_step server_step_sgd = { .name = "sgd", .make = step_elements, .kernel = step_along };

const struct server_step server_step_momentum = {
	.name = "momentum",
	.make = step_elements,
	.kernel = step_momentum,
	.states = { { "m/" } },
};

const struct server_step server_step_adagrad = {
	.name = "adagrad",
	.make = step_elements,
	.kernel = step_adagrad,
	.states = { { "m/" }, { "v/", .begins_at_tau_squared = true } },
};

const struct server_step server_step_yogi = {
	.name = "yogi",
	.make = step_elements,
	.kernel = step_yogi,
	.states = { { "m/" }, { "v/", .begins_at_tau_squared = true } },
};

const struct server_step server_step_adam = {
	.name = "adam",
	.make = step_elements,
	.kernel = step_adam,
	.states = { { "m/" }, { "v/", .begins_at_tau_squared = true } },
};
