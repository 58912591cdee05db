/* Training in rounds, as a kit: see training_rounds.c. An algorithm is a table of parameters and a struct of rules. */
#ifndef ROUNDS_SERVER_WORKFLOWS_TRAINING_ROUNDS_H
#define ROUNDS_SERVER_WORKFLOWS_TRAINING_ROUNDS_H

#include "server/engine/workflow.h"
#include "server/workflows/measuring.h"

/* How a round's updates become a model. What is set here is the kit's to free. */
struct combination {
	const json_t *results; /* as results_of() gives them, of those that had samples */
	const char *method;    /* the job's aggregator, unless the rules say otherwise */
	json_t *params, *weights, *step;
};

struct training_rules {
	/* What the trainers are asked to do differently, such as {"proximal_mu": 0.01}; NULL: nothing. A new reference. */
	json_t *(*instruct)(const struct job_view *job);
	/* Fills in weights and step; words in `fault` fail the job. NULL: the job's aggregator alone. */
	void (*combine)(const struct job_view *job, struct combination *how, char *fault, size_t size);
	bool shares_control; /* the state of the server's step goes to the trainers */
	bool only_evaluates;
};

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

#define TRAINING_PARAMS \
	{ "rounds", FIELD_INTEGER, "How many rounds to train", .fallback = "10", .min = 1, .max = 1000000 }, \
	{ "fraction", FIELD_NUMBER, \
		"Share of the job's sites that train in a round, chosen by the job's seed; 1: all of them", \
		.fallback = "1.0", .min = 0, .max = 1, .exclusive = true }, \
	{ "quorum", FIELD_INTEGER, "Updates that suffice to close a round; 0: one from every site of the cohort", \
		.fallback = "0", .min = 0, .max = 100000 }, \
	{ "deadline_seconds", FIELD_NUMBER, \
		"After so long a round closes with what it has, if that is a quorum; 0: never", .fallback = "0", \
		.min = 0, .max = 31536000 }, \
	{ "grace_seconds", FIELD_NUMBER, "How long a round that has its quorum waits for the stragglers", \
		.fallback = "0", .min = 0, .max = 31536000 }, \
	{ "failure_policy", FIELD_TEXT, \
		"When a site fails for good: go on while a quorum is possible, or fail the job", \
		.fallback = "\"tolerate\"", .choices = { "tolerate", "fail" } }, \
	MEASURING_KEY_PARAMS("model"), \
	{ "early_stop_rounds", FIELD_INTEGER, \
		"Stop when the key metric has not improved for so many rounds; 0: never", .fallback = "0", .min = 0, \
		.max = 1000000 }, \
	MEASURING_LAST_PARAM, \
	{ "aggregator", FIELD_TEXT, "How one model is made of a round's updates", .fallback = "\"weighted_mean\"", \
		.choices = { "weighted_mean", "mean", "sum", "median", "trimmed_mean", "norm_clipping", "geometric_median", \
			"krum", "multi_krum", "bulyan" } }, \
	{ "trim", FIELD_NUMBER, "trimmed_mean: the share of values that is dropped at either end", .fallback = "0.2", \
		.min = 0, .max = 0.499 }, \
	{ "byzantine", FIELD_INTEGER, \
		"krum, multi_krum, bulyan: how many hostile sites to withstand; 0: as many as the method can", .fallback = "0", \
		.min = 0, .max = 10000 }, \
	{ "clip_norm", FIELD_NUMBER, \
		"norm_clipping: the greatest norm of a site's change; 0: the median of the norms", .fallback = "0.0", .min = 0, \
		.max = 1e300 },
/* clang-format on */

#endif
