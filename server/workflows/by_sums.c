/*
 * Two algorithms in which sites send sums, not models, and the server makes the next model of all sums together: what comes out
 * is what the pooled data would have given.
 *
 *     kmeans  Lloyd, Least squares quantization in PCM, 1982: sums and counts of the rows nearest to each center
 *     cox     Cox, Regression models and life-tables, 1972, ties by Breslow: sums over risk sets, then a Newton step
 *
 * What the sums are is told in client/trainers/kmeans.h and cox.h, the steps in server/aggregate/sum_steps.c.
 */
#include "server/workflows/training_rounds.h"
#include "server/workflows/workflows.h"

#include "common/json.h"

static const struct field kmeans_params[] = {
	{ "", FIELD_TABLE, .nested = training_params },
	{ "clusters", FIELD_INTEGER, "How many centers", .fallback = "8", .min = 1, .max = 100000 },
	{ NULL },
};

static const struct field cox_params[] = {
	{ "", FIELD_TABLE, .nested = training_params },
	{ "time", FIELD_TEXT, "The column of times; the dataset's label says whether the event was seen",
		.required = true, .min = 1, .max = 200 },
	{ "time_max", FIELD_NUMBER, "The end of the last cell of time; later rows count as at risk until then",
		.required = true, .min = 0, .max = 1e300, .exclusive = true },
	{ "bins", FIELD_INTEGER, "Cells of time up to time_max: as many as it has units, and nothing is lost",
		.fallback = "365", .min = 1, .max = 100000 },
	{ "ridge", FIELD_NUMBER,
		"Penalty of ridge / 2 on each squared coefficient, for covariates that depend on each other; 0: none",
		.fallback = "0.0", .min = 0, .max = 1e300 },
	{ NULL },
};

static json_t *instruct_kmeans(const struct job_view *job)
{
	return json_pack("{s:O}", "kmeans", json_object_get(job->params, "clusters"));
}

static json_t *instruct_cox(const struct job_view *job)
{
	return json_pack("{s:O, s:O, s:O}", "cox", json_object_get(job->params, "time"), "bins",
		json_object_get(job->params, "bins"), "time_max", json_object_get(job->params, "time_max"));
}

static void combine(const struct job_view *job, struct combination *how, char *fault, size_t size)
{
	const struct training_rules *rules = job->workflow->rules;
	double ridge = json_number_or(job->params, "ridge", 0);

	(void)fault;
	(void)size;
	how->method = "total";
	how->step = json_pack("{s:s}", "name", rules->step);
	if (ridge > 0)
		json_object_set_new(how->step, "ridge", json_real(ridge));
}

static const struct training_rules kmeans_rules = {
	.instruct = instruct_kmeans, .combine = combine, .step = "kmeans"
};
static const struct training_rules cox_rules = { .instruct = instruct_cox, .combine = combine, .step = "cox" };

const struct workflow workflow_kmeans = {
	.name = "kmeans",
	.summary = "K-means: the centers of all sites' rows together",
	.params = kmeans_params,
	.rules = &kmeans_rules,
	.updates = UPDATES_ANY,
	.takes_late_sites = true,
	TRAINING_STEPS,
};

const struct workflow workflow_cox = {
	.name = "cox",
	.summary = "Cox regression with the exact gradients of all sites' rows together",
	.params = cox_params,
	.rules = &cox_rules,
	.updates = UPDATES_ANY,
	.takes_late_sites = true,
	TRAINING_STEPS,
};
