/*
 * Federated averaging: in every round a cohort of sites trains the same model, and the mean of what they send back,
 * weighted by their sample counts, is the next model.
 * McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017.
 *
 * This is training in rounds without a rule of its own. How a round runs is told in training_rounds.c: the cohort is
 * chosen, everyone gets the model, updates come in until a quorum, a deadline or the end of the grace, and the job's
 * aggregator (a weighted mean, unless the job names one that withstands hostile sites) makes the next model.
 */
#include "server/workflows/training_rounds.h"
#include "server/workflows/workflows.h"

static const struct training_rules rules = { 0 };

const struct workflow workflow_fedavg = {
	.name = "fedavg",
	.summary = "Every site trains the same model; the weighted mean is the next one",
	.params = training_params,
	.rules = &rules,
	.takes_late_sites = true,
	TRAINING_STEPS,
};
