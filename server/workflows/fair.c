/*
 * Two that weigh the sites' changes in their own way and then step along the mean.
 *
 *     fednova  Wang et al., Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization, NeurIPS
 *              2020: changes are divided by the site's number of steps tau_i, so that a site which steps more often does not
 *              count more: x + tau_eff sum p_i (y_i - x) / tau_i with tau_eff = sum p_i tau_i.
 *     qfedavg  Li et al., Fair Resource Allocation in Federated Learning, ICLR 2020: sites with a greater loss F_i count more:
 *              x + sum F_i^q L (y_i - x) / sum (q F_i^(q-1) L^2 |y_i - x|^2 + L F_i^q) with L = 1 / learning rate.
 *
 * Both are a weighted mean with weights of its own and a step of a certain length: sum a_i d_i = (sum a_i) x mean of d.
 */
#include "server/workflows/training_rounds.h"
#include "server/workflows/workflows.h"

#include "common/json.h"

#include <math.h>
#include <stdio.h>

static const struct field fair_params[] = {
	{ "", FIELD_TABLE, .nested = training_params },
	{ "q", FIELD_NUMBER, "How much fairness counts; 0: none, as in federated averaging of equal sites",
		.fallback = "1.0", .min = 0, .max = 100 },
	{ "lipschitz", FIELD_NUMBER, "1 / learning rate of the sites, which bounds their curvature",
		.fallback = "10.0", .min = 0, .max = 1e9, .exclusive = true },
	{ NULL },
};

/* A positive metric that the algorithm cannot do without. */
static double needed(const json_t *result, const char *name, char *fault, size_t size)
{
	double value = json_number_or(json_object_get(result, "metrics"), name, NAN);

	if (!(value > 0))
		snprintf(fault, size,
			"%s did not report %s, a positive number: its executor does not do this algorithm",
			json_text_or(result, "site", ""), name);
	return value;
}

static void finish(struct combination *how, double rate)
{
	how->step = json_pack("{s:s, s:f, s:[s, s, s]}", "name", "sgd", "rate", rate, "mean_only", TRAINING_BUFFERS);
}

static void combine_nova(const struct job_view *job, struct combination *how, char *fault, size_t size)
{
	double total = 0, effective = 0, inverse = 0;
	size_t i;
	const json_t *result;

	(void)job;
	how->weights = json_object();
	json_array_foreach (how->results, i, result)
		total += json_number_or(result, "weight", 1);
	json_array_foreach (how->results, i, result) {
		double share = json_number_or(result, "weight", 1) / total;
		double steps = needed(result, "train_steps", fault, size);

		effective += share * steps;
		inverse += share / steps;
		json_object_set_new(how->weights, json_text_or(result, "site", ""), json_real(share / steps));
	}
	if (!fault[0])
		finish(how, effective * inverse);
}

static void combine_fair(const struct job_view *job, struct combination *how, char *fault, size_t size)
{
	double q = json_number_or(job->params, "q", 1), lipschitz = json_number_or(job->params, "lipschitz", 10);
	double sum = 0, curvature = 0;
	size_t i;
	const json_t *result;

	how->weights = json_object();
	json_array_foreach (how->results, i, result) {
		double loss = needed(result, "train_loss_before", fault, size);
		double apart = lipschitz * json_number_or(result, "distance", 0);

		sum += pow(loss, q) * lipschitz;
		curvature += q * pow(loss, q - 1) * apart * apart + lipschitz * pow(loss, q);
		json_object_set_new(how->weights, json_text_or(result, "site", ""), json_real(pow(loss, q)));
	}
	if (!fault[0])
		finish(how, sum / curvature);
}

static json_t *instruct_fair(const struct job_view *job)
{
	(void)job;
	return json_pack("{s:b}", "loss_before", 1);
}

static json_t *instruct_nova(const struct job_view *job)
{
	(void)job;
	return json_pack("{s:b}", "count_steps", 1);
}

static const struct training_rules nova_rules = { .combine = combine_nova, .instruct = instruct_nova };
static const struct training_rules fair_rules = { .combine = combine_fair, .instruct = instruct_fair };

const struct workflow workflow_fednova = {
	.name = "fednova",
	.summary = "Federated averaging of changes per step, for sites that do unlike amounts of work",
	.params = training_params,
	.rules = &nova_rules,
	TRAINING_STEPS,
};

const struct workflow workflow_qfedavg = {
	.name = "qfedavg",
	.summary = "Sites where the model is worse count more",
	.params = fair_params,
	.rules = &fair_rules,
	TRAINING_STEPS,
};
