/*
 * Steps that go element by element. In every float tensor, with x the model, y the aggregate and d = y - x, everything in
 * double, a kernel changes a chunk of x and of the states beside it. Tensors of integers, and those whose name matches a pattern
 * of "mean_only", take the aggregate as it is.
 */
#ifndef ROUNDS_SERVER_AGGREGATE_ELEMENT_STEP_H
#define ROUNDS_SERVER_AGGREGATE_ELEMENT_STEP_H

#include "server/aggregate/server_step.h"

enum { STEP_CHUNK = 16384 };

/* One chunk of one tensor: x and its states are changed in place. */
struct chunk {
	size_t count;
	double x[STEP_CHUNK], y[STEP_CHUNK], second[STEP_CHUNK], states[STEP_STATES_LIMIT][STEP_CHUNK];
};

/* What a step's params may say, and the scale of the second aggregate. */
struct rates {
	double rate, beta1, beta2, tau, share, scale;
};

/* The `make` of such a step. Without a state of the step before, states begin at zero or at tau squared. */
must_check int step_elements(const struct server_step *step, const json_t *params,
	const struct server_step_files *files, struct rounds_error *error);

/* The kernel of the plain step, x + rate d. */
void step_along(struct chunk *chunk, const struct rates *rates);

#endif
