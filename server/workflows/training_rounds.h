/* Training in rounds, as a kit: see training_rounds.c. An algorithm is a table of parameters and a struct of rules. */
#ifndef ROUNDS_SERVER_WORKFLOWS_TRAINING_ROUNDS_H
#define ROUNDS_SERVER_WORKFLOWS_TRAINING_ROUNDS_H

#include "server/engine/workflow.h"
#include "server/workflows/measuring.h"

/* How a round's updates become a model. What is set here is the kit's to free. */
struct combination {
	const json_t *results; /* as results_of() gives them, of those that had samples */
	const char *method;    /* the job's aggregator, unless the rules say otherwise */
	json_t *weights, *step;
};

struct training_rules {
	/* What the trainers are asked to do differently, such as {"proximal_mu": 0.01}; NULL: nothing. A new reference. */
	json_t *(*instruct)(const struct job_view *job);
	/* Fills in weights and step; words in `fault` fail the job. NULL: the job's aggregator alone. */
	void (*combine)(const struct job_view *job, struct combination *how, char *fault, size_t size);
	const char *step;    /* the server's, where several workflows share a `combine` */
	bool shares_control; /* the state of the server's step goes to the trainers */
	bool only_evaluates;
};

/* What every job of the kit may say; an algorithm's own parameters stand beside them in its table. */
extern const struct field training_params[];

step_fn training_start, training_result, training_failure, training_aggregate, training_timer;
void training_check(const json_t *params, json_t *faults);
int64_t training_rounds(const json_t *params);

/* Patterns of tensors that are no weights, such as batch normalisation's running statistics: no step should stretch them. */
#define TRAINING_BUFFERS "*running_mean", "*running_var", "*num_batches_tracked"

/* clang-format off */
#define TRAINING_STEPS                                                                                               \
	.check = training_check, .rounds = training_rounds,                                                          \
	.steps = { [EVENT_STARTED] = training_start, [EVENT_RESULT] = training_result,                               \
		[EVENT_TASK_FAILED] = training_failure, [EVENT_AGGREGATED] = training_aggregate,                     \
		[EVENT_TIMER] = training_timer }
/* clang-format on */

#endif
