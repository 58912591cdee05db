/*
 * Federated averaging with an optimizer at the server: the mean of the sites' changes is taken as a gradient.
 *
 *     fedavgm      momentum. Hsu, Qi, Brown, Measuring the Effects of Non-Identical Data Distribution for Federated Visual
 *                  Classification, 2019
 *     fedadagrad, fedadam, fedyogi
 *                  Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2: no bias correction, and the second
 *                  moment begins at tau^2
 *
 * The formulas are those of server/aggregate/server_optimizers.c. Moments are a file of the round beside its model.
 */
#include "server/workflows/training_rounds.h"
#include "server/workflows/workflows.h"

#include "common/json.h"

static const struct field step_params[] = {
	{ "mean_only", FIELD_TEXTS, "Patterns of tensors that take the mean as it is, since they are no weights",
		.fallback = "[\"*running_mean\", \"*running_var\", \"*num_batches_tracked\"]", .min = 0,
		.max = 1000 },
	{ NULL },
};

static const struct field momentum_params[] = {
	{ "", FIELD_TABLE, .nested = training_params },
	{ "server_learning_rate", FIELD_NUMBER, "Length of the server's steps", .fallback = "1.0", .min = 0,
		.max = 1e6, .exclusive = true },
	{ "", FIELD_TABLE, .nested = step_params },
	{ "server_momentum", FIELD_NUMBER, "How much of the last step goes on", .fallback = "0.9", .min = 0,
		.max = 1 },
	{ NULL },
};

static const struct field adaptive_params[] = {
	{ "", FIELD_TABLE, .nested = training_params },
	{ "server_learning_rate", FIELD_NUMBER, "Length of the server's steps", .fallback = "0.1", .min = 0,
		.max = 1e6, .exclusive = true },
	{ "", FIELD_TABLE, .nested = step_params },
	{ "beta1", FIELD_NUMBER, "Decay of the first moment", .fallback = "0.9", .min = 0, .max = 1 },
	{ "beta2", FIELD_NUMBER, "Decay of the second moment (fedadam, fedyogi)", .fallback = "0.99", .min = 0,
		.max = 1 },
	{ "tau", FIELD_NUMBER, "How adaptive it is: steps are divided by the second moment's root plus this",
		.fallback = "0.001", .min = 0, .max = 1e6, .exclusive = true },
	{ NULL },
};

static void combine(const struct job_view *job, struct combination *how, char *fault, size_t size)
{
	const struct training_rules *rules = job->workflow->rules;

	(void)fault;
	(void)size;
	how->step = json_pack("{s:s, s:f, s:f, s:f, s:f, s:O}", "name", rules->step, "rate",
		json_number_or(job->params, "server_learning_rate", 1), "beta1",
		json_number_or(job->params, "beta1", json_number_or(job->params, "server_momentum", 0.9)), "beta2",
		json_number_or(job->params, "beta2", 0.99), "tau", json_number_or(job->params, "tau", 1e-3),
		"mean_only", json_object_get(job->params, "mean_only"));
}

static const struct training_rules momentum_rules = { .combine = combine, .step = "momentum" };
static const struct training_rules adagrad_rules = { .combine = combine, .step = "adagrad" };
static const struct training_rules adam_rules = { .combine = combine, .step = "adam" };
static const struct training_rules yogi_rules = { .combine = combine, .step = "yogi" };

const struct workflow workflow_fedavgm = {
	.name = "fedavgm",
	.summary = "Federated averaging with momentum at the server",
	.params = momentum_params,
	.rules = &momentum_rules,
	.takes_late_sites = true,
	TRAINING_STEPS,
};

const struct workflow workflow_fedadagrad = {
	.name = "fedadagrad",
	.summary = "Federated averaging with Adagrad at the server",
	.params = adaptive_params,
	.rules = &adagrad_rules,
	.takes_late_sites = true,
	TRAINING_STEPS,
};

const struct workflow workflow_fedadam = {
	.name = "fedadam",
	.summary = "Federated averaging with Adam at the server",
	.params = adaptive_params,
	.rules = &adam_rules,
	.takes_late_sites = true,
	TRAINING_STEPS,
};

const struct workflow workflow_fedyogi = {
	.name = "fedyogi",
	.summary = "Federated averaging with Yogi at the server",
	.params = adaptive_params,
	.rules = &yogi_rules,
	.takes_late_sites = true,
	TRAINING_STEPS,
};
