/*
 * Ditto: federated averaging for all, and beside it a personal model at every site, held near the common one by a penalty of
 * lambda/2 |v - w|^2. The personal model never leaves its site; its metrics do, as personal_*.
 * Li et al., Ditto: Fair and Robust Federated Learning Through Personalization, ICML 2021.
 */
#include "server/workflows/training_rounds.h"
#include "server/workflows/workflows.h"

#include "common/json.h"

static const struct field params[] = {
	{ "", FIELD_TABLE, .nested = training_params },
	{ "lambda", FIELD_NUMBER, "Weight of the penalty lambda/2 |v - w|^2 in the personal model's loss",
		.fallback = "0.1", .min = 0, .max = 1e6 },
	{ NULL },
};

static json_t *instruct(const struct job_view *job)
{
	return json_pack("{s:f}", "personal_lambda", json_number_or(job->params, "lambda", 0.1));
}

static const struct training_rules rules = { .instruct = instruct };

const struct workflow workflow_ditto = {
	.name = "ditto",
	.summary = "Federated averaging, and at every site a personal model near the common one",
	.params = params,
	.rules = &rules,
	.takes_late_sites = true,
	TRAINING_STEPS,
};
