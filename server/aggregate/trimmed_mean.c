/*
 * Means of every coordinate without its most extreme values; without all but the middle one or two it is the median.
 * Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018.
 */
#include "server/aggregate/aggregators.h"
#include "server/aggregate/kernels.h"

#include "common/json.h"

static const struct field trimmed_params[] = {
	{ "trim", FIELD_NUMBER, "trimmed_mean: the share of values that is dropped at either end", .fallback = "0.2",
		.min = 0, .max = 0.499 },
	{ NULL },
};

static int leave_the_middle(struct preparation *preparation, struct rounds_error *error)
{
	(void)error;
	preparation->trim = (preparation->count - 1) / 2;
	return 0;
}

static int trim(struct preparation *preparation, struct rounds_error *error)
{
	double share = json_number_or(preparation->params, "trim", 0);

	preparation->trim = (size_t)(share * (double)preparation->count + 1e-9);
	if (2 * preparation->trim >= preparation->count)
		return error_set(error, ERROR_UNPROCESSABLE,
			"a trim of %g leaves nothing of %zu updates; it must be less than 0.5", share,
			preparation->count);
	return 0;
}

const struct aggregator aggregator_median = {
	.name = "median",
	.is_offered = true,
	.prepare = leave_the_middle,
	.kernel = kernel_trimmed,
};

const struct aggregator aggregator_trimmed_mean = {
	.name = "trimmed_mean",
	.params = trimmed_params,
	.is_offered = true,
	.prepare = trim,
	.kernel = kernel_trimmed,
};
