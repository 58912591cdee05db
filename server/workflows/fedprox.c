/*
 * FedProx: federated averaging whose trainers stay near the model that they were given, by a penalty of mu/2 |w - w0|^2 in
 * their loss, so that unlike sites do not pull it apart.
 * Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020.
 */
#include "server/workflows/training_rounds.h"
#include "server/workflows/workflows.h"

#include "common/json.h"

static const struct field params[] = {
	{ "", FIELD_TABLE, .nested = training_params },
	{ "mu", FIELD_NUMBER, "Weight of the penalty mu/2 |w - w0|^2 in every site's loss", .fallback = "0.01",
		.min = 0, .max = 1e6 },
	{ NULL },
};

static json_t *instruct(const struct job_view *job)
{
	return json_pack("{s:f}", "proximal_mu", json_number_or(job->params, "mu", 0.01));
}

static const struct training_rules rules = { .instruct = instruct };

const struct workflow workflow_fedprox = {
	.name = "fedprox",
	.summary = "Federated averaging; trainers are held near the model that they were given",
	.params = params,
	.rules = &rules,
	.takes_late_sites = true,
	TRAINING_STEPS,
};
