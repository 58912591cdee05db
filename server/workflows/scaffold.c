/*
 * SCAFFOLD: every site corrects its steps by the difference between the server's control variate c and its own c_i, so that
 * sites with unlike data do not drift apart. Karimireddy et al., SCAFFOLD: Stochastic Controlled Averaging for Federated
 * Learning, ICML 2020, algorithm 1, option II.
 *
 * A site that makes K steps of length eta ends at y_i with c_i+ = c_i - c + (x - y_i) / (K eta). It keeps its c_i and
 * tells only K eta (the metric train_length): the server knows x, y_i and c, so the mean change of the variates needs no
 * upload: c + share (mean_i (x - y_i) / (K eta)_i - c). c goes out with the model.
 *
 * Both means weigh a site by its samples, so that the loss is that of all rows, as in federated averaging. The paper counts
 * all sites alike (weighted: false). It must be both: sites go where c points, however their models are weighed.
 */
#include "server/workflows/training_rounds.h"
#include "server/workflows/workflows.h"

#include "common/json.h"

#include <stdio.h>

static const struct field params[] = {
	{ "", FIELD_TABLE, .nested = training_params },
	{ "server_learning_rate", FIELD_NUMBER, "Length of the server's steps", .fallback = "1.0", .min = 0,
		.max = 1e6, .exclusive = true },
	{ "weighted", FIELD_BOOL,
		"Weigh sites by their sample counts, as federated averaging does; false: all alike, as in the paper",
		.fallback = "true" },
	{ NULL },
};

static json_t *instruct(const struct job_view *job)
{
	(void)job;
	return json_pack("{s:b}", "control_variates", 1);
}

static void combine(const struct job_view *job, struct combination *how, char *fault, size_t size)
{
	json_auto_t *lengths = json_object();
	size_t i;
	const json_t *result;

	json_array_foreach (how->results, i, result) {
		const char *site = json_text_or(result, "site", "");
		double length = json_number_or(json_object_get(result, "metrics"), "train_length", 0);

		if (!(length > 0)) {
			snprintf(fault, size,
				"%s did not report train_length (steps x learning rate): its executor does not do SCAFFOLD",
				site);
			return;
		}
		json_object_set_new(lengths, site, json_real(length));
	}
	if (!json_bool_or(job->params, "weighted", true)) {
		how->weights = json_object();
		json_array_foreach (how->results, i, result)
			json_object_set_new(how->weights, json_text_or(result, "site", ""), json_real(1));
	}
	how->step = json_pack("{s:s, s:f, s:f, s:O, s:[s, s, s]}", "name", "scaffold", "rate",
		json_number_or(job->params, "server_learning_rate", 1), "share",
		(double)json_array_size(how->results) / (double)sites_of(job).count, "lengths", lengths, "mean_only",
		TRAINING_BUFFERS);
}

static const struct training_rules rules = { .instruct = instruct, .combine = combine, .shares_control = true };

const struct workflow workflow_scaffold = {
	.name = "scaffold",
	.summary = "Sites correct their steps by control variates and do not drift apart",
	.params = params,
	.rules = &rules,
	TRAINING_STEPS,
};
