/*
 * What the server makes of an aggregate before it becomes the next model: the change that the sites ask for is taken as a
 * gradient, and a server optimizer steps along it (Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2).
 *
 * A step has memory: moments, or SCAFFOLD's control variate. That is a file of tensors of its own, read and written anew
 * with every step, so that a job's whole past can be recomputed from files.
 */
#ifndef ROUNDS_SERVER_AGGREGATE_SERVER_STEP_H
#define ROUNDS_SERVER_AGGREGATE_SERVER_STEP_H

#include "server/aggregate/aggregate.h"

struct server_step_files {
	const struct view *model, *aggregate;
	const struct view *second; /* another aggregate, for a step that takes one; else NULL */
	double second_scale;       /* belongs to it */
	const struct view *state;  /* of the step before, or NULL */
	const struct sink *output, *state_output;
};

struct chunk;
struct rates;
enum { STEP_STATES_LIMIT = 2 };

/* A row of the table in server_steps.c. */
struct server_step {
	const char *name; /* what a plan and a manifest call it */
	/* It takes a second aggregate of the same inputs, for which it gives weights of its own; *scale is for the step. NULL: not. */
	const struct aggregator *second;
	void (*reweigh)(const json_t *params, struct aggregate_input *inputs, size_t count, double *scale);
	int (*make)(const struct server_step *step, const json_t *params, const struct server_step_files *files,
		struct rounds_error *error);
	/* Of those that go element by element (element_step.h): */
	void (*kernel)(struct chunk *chunk, const struct rates *rates);
	struct step_state {
		const char *prefix; /* before a tensor's name, in the file of states; NULL: there is none */
		bool begins_at_tau_squared;
	} states[STEP_STATES_LIMIT];
};

/* NULL if there is none of that name. */
const struct server_step *server_step_find(const char *name);

/* Whether it keeps a state, and so writes state_output. */
bool server_step_has_state(const struct server_step *step);

/* `step` is {"name"} and what each step says of itself where it is defined. */
must_check int server_step(const json_t *step, const struct server_step_files *files, struct rounds_error *error);

#endif
