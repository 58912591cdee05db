/*
 * The weighted mean of changes whose norm is limited. Sun et al., Can You Really Backdoor Federated Learning?, 2019: each change
 * is shortened to the bound; without one, the median of the norms is the bound. What a change loses, the model gains.
 */
#include "server/aggregate/aggregators.h"
#include "server/aggregate/gram.h"
#include "server/aggregate/kernels.h"

#include "common/json.h"

static const struct field params[] = {
	{ "clip_norm", FIELD_NUMBER,
		"norm_clipping: the greatest norm of a site's change; 0: the median of the norms", .fallback = "0.0",
		.min = 0, .max = 1e300 },
	{ NULL },
};

static int clip(struct preparation *preparation, struct rounds_error *error)
{
	double bound = json_number_or(preparation->params, "clip_norm", 0);
	size_t n = preparation->count;

	if (bound <= 0) {
		double *norms = calloc(n, sizeof(double));

		if (!norms)
			return error_no_memory(error);
		for (size_t i = 0; i < n; i++)
			norms[i] = gram_norm(preparation, i);
		qsort(norms, n, sizeof(double), ascending);
		bound = (norms[(n - 1) / 2] + norms[n / 2]) / 2;
		free(norms);
	}
	for (size_t i = 0; i < n; i++) {
		double norm = gram_norm(preparation, i);
		long double kept = norm > bound ? (long double)(bound / norm) : 1;

		preparation->of_model += preparation->weights[i] * (1 - kept);
		preparation->weights[i] *= kept;
	}
	return 0;
}

const struct aggregator aggregator_norm_clipping = {
	.name = "norm_clipping",
	.params = params,
	.is_offered = true,
	.needs_gram = true,
	.prepare = clip,
	.kernel = kernel_mean,
};
