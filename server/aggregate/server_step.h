/*
 * What the server makes of an aggregate before it becomes the next model: the change that the sites ask for is taken as a
 * gradient, and a server optimizer steps along it (Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2).
 *
 * A step has memory: moments, or SCAFFOLD's control variate. That is a file of tensors of its own, read and written anew
 * with every step, so that a job's whole past can be recomputed from files.
 */
#ifndef ROUNDS_SERVER_AGGREGATE_SERVER_STEP_H
#define ROUNDS_SERVER_AGGREGATE_SERVER_STEP_H

#include "common/view.h"

#include <jansson.h>
#include <stdbool.h>

/*
 * With x the model, y the aggregate, d = y - x, everything in double, for each element of each float tensor:
 *
 *     sgd       x + rate d
 *     momentum  m = beta1 m + d                                        x + rate m     (Hsu et al. 2019, FedAvgM)
 *     adagrad   m = beta1 m + (1 - beta1) d   v = v + d^2              x + rate m / (sqrt v + tau)
 *     yogi      m = ...                       v = v - (1 - beta2) d^2 sign(v - d^2)
 *     adam      m = ...                       v = beta2 v + (1 - beta2) d^2
 *     scaffold  x + rate d                    c = c + share (scale (x - y') - c)
 *
 * "kmeans" and "cox" (with a "ridge") make the model of sums instead (sum_steps.h).
 *
 * with m = 0 and v = tau^2 at first (c = 0). `step` is {"name", "rate", "beta1", "beta2", "tau", "mean_only", "share"};
 * tensors whose name matches a pattern of "mean_only", and those of integers, take the aggregate as it is. y' is a second
 * aggregate (SCAFFOLD's), and scale belongs to it.
 */
struct server_step_files {
	const struct view *model, *aggregate;
	const struct view *second; /* y', or NULL */
	double second_scale;       /* scale */
	const struct view *state;  /* of the step before, or NULL */
	const struct sink *output, *state_output;
};

/* Whether a step of that name keeps a state, and so writes state_output. */
bool server_step_has_state(const char *name);

must_check int server_step(const json_t *step, const struct server_step_files *files, struct rounds_error *error);

#endif
