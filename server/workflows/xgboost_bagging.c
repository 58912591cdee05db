/*
 * Bagging of boosted trees: in every round each site adds trees of its own to the common booster, as if it were alone, and all
 * of them are put behind one another. So many trees at once step too far: sites are told how many they are, to divide their
 * learning rate by it (as random forests divide their votes).
 * Chen, Guestrin, XGBoost: A Scalable Tree Boosting System, KDD 2016; Breiman, Bagging Predictors, 1996.
 */
#include "server/workflows/training_rounds.h"
#include "server/workflows/workflows.h"

#include <math.h>

#include "common/json.h"

static json_t *instruct(const struct job_view *job)
{
	double sites = ceil(json_number_or(job->params, "fraction", 1) * (double)sites_of(job).count - 1e-9);

	return json_pack("{s:I}", "boosters", (json_int_t)(sites < 1 ? 1 : sites));
}

static void combine(const struct job_view *job, struct combination *how, char *fault, size_t size)
{
	(void)job;
	(void)fault;
	(void)size;
	how->method = "boosters";
}

static const struct training_rules rules = { .instruct = instruct, .combine = combine };

const struct workflow workflow_xgboost_bagging = {
	.name = "xgboost_bagging",
	.summary = "Every site adds trees of its own to the common booster",
	.params = training_params,
	.rules = &rules,
	.updates = UPDATES_BOOSTERS,
	TRAINING_STEPS,
};
