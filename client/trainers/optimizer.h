/* Steps as PyTorch makes them: SGD, SGD with momentum, Adam (Kingma and Ba, 2015). */
#ifndef ROUNDS_CLIENT_TRAINERS_OPTIMIZER_H
#define ROUNDS_CLIENT_TRAINERS_OPTIMIZER_H

#include "client/trainers/network.h"

#include <jansson.h>

struct optimizer {
	enum { STEP_SGD, STEP_MOMENTUM, STEP_ADAM } kind;
	double rate, momentum;
	float *first, *second; /* moments */
	uint64_t steps;
};

/* `params` are the trainer's, `count` the network's values. To be closed also if it fails. */
must_check int optimizer_open(
	struct optimizer *optimizer, const json_t *params, size_t count, struct rounds_error *error);
void optimizer_close(struct optimizer *optimizer);

/* Changes the network's values by its gradient. */
void optimizer_step(struct optimizer *optimizer, struct network *network);

/*
 * How far equal gradients would have carried, in steps: Wang et al. 2020 (FedNova), |a|_1. With momentum rho, step j counts
 * (1 - rho^(steps - j)) / (1 - rho).
 */
double optimizer_drift(const struct optimizer *optimizer);

#endif
