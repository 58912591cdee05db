/*
 * What a workflow asks of a trainer beyond plain steps, {"proximal_mu", "control_variates", "personal_lambda", "loss_before",
 * "count_steps"} in the task's `algorithm`:
 *
 *     proximal_mu       FedProx (Li et al. 2020): mu (w - w0) is added to every gradient
 *     control_variates  SCAFFOLD (Karimireddy et al. 2020, option II): c - c_i is added to every gradient; afterwards
 *                       c_i becomes c_i - c + (x - y) / (steps x rate), kept at the site; plain SGD only
 *     personal_lambda   Ditto (Li et al. 2021): a model of the site's own is trained beside, with a proximal term
 *     loss_before       the loss on the training rows before training is told, for q-FedAvg
 *     count_steps       how far equal gradients would have carried, in steps, is told, for FedNova
 *
 * A trainer refuses what it does not know: an algorithm that is half done is another algorithm.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_ALGORITHM_H
#define ROUNDS_CLIENT_TRAINERS_ALGORITHM_H

#include "client/trainers/network.h"

#include <jansson.h>

struct algorithm {
	double mu;              /* 0: no proximal term */
	double personal_lambda; /* below 0: no personal model */
	bool loss_before, count_steps;
	bool has_control;
	int64_t round;
	const char *directory;         /* of what stays here */
	float *anchor;                 /* the values that training began with */
	struct network *control, *own; /* c and c_i; NULL without control variates */
};

/* Reads what the task brings and what was kept. `network` holds the model that the task came with. */
must_check int algorithm_open(
	const json_t *task, const struct network *network, struct algorithm *algorithm, struct rounds_error *error);
void algorithm_close(struct algorithm *algorithm);

/* Before each step: changes the gradient. */
void algorithm_correct(const struct algorithm *algorithm, struct network *network);

/* After so many steps of that length: keeps the new control variate. */
must_check int algorithm_finish(struct algorithm *algorithm, const struct network *network, uint64_t steps,
	double rate, struct rounds_error *error);

#endif
