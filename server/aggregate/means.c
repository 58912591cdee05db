/* Sums of all inputs by weights that do not depend on what they hold. */
#include "server/aggregate/aggregators.h"
#include "server/aggregate/kernels.h"

void prepare_equal(struct preparation *preparation)
{
	for (size_t i = 0; i < preparation->chosen_count; i++)
		preparation->weights[i] = 1.0L / (long double)preparation->chosen_count;
}

static int count_alike(struct preparation *preparation, struct rounds_error *error)
{
	(void)error;
	prepare_equal(preparation);
	return 0;
}

static int add_up(struct preparation *preparation, struct rounds_error *error)
{
	(void)error;
	for (size_t i = 0; i < preparation->count; i++)
		preparation->weights[i] = 1;
	return 0;
}

/* Weighted by the sites' sample counts, as they come. */
const struct aggregator aggregator_weighted_mean = {
	.name = "weighted_mean",
	.is_offered = true,
	.kernel = kernel_mean,
};

const struct aggregator aggregator_mean = {
	.name = "mean",
	.is_offered = true,
	.prepare = count_alike,
	.kernel = kernel_mean,
};

const struct aggregator aggregator_sum = {
	.name = "sum",
	.is_offered = true,
	.prepare = add_up,
	.kernel = kernel_mean,
};

/* The sum of statistics, which are nothing like the model that was sent out. */
const struct aggregator aggregator_total = {
	.name = "total",
	.is_unlike_model = true,
	.prepare = add_up,
	.kernel = kernel_mean,
};

void weights_cap(double *weights, size_t count, double share)
{
	for (size_t pass = 0; pass < count; pass++) {
		double greatest = 0, rest = 0;
		size_t capped = 0;

		for (size_t i = 0; i < count; i++)
			greatest = weights[i] > greatest ? weights[i] : greatest;
		for (size_t i = 0; i < count; i++)
			capped += weights[i] == greatest;
		for (size_t i = 0; i < count; i++)
			rest += weights[i] == greatest ? 0 : weights[i];
		if (capped == count || greatest <= share * (rest + (double)capped * greatest))
			return;
		/* Where the capped ones together may have all, the next greatest decides: they become equal to it. */
		double level = share * (double)capped < 1 ? share * rest / (1 - share * (double)capped) : 0;
		double next = 0;
		for (size_t i = 0; i < count; i++)
			if (weights[i] < greatest && weights[i] > next)
				next = weights[i];
		if (level < next)
			level = next;
		for (size_t i = 0; i < count; i++)
			if (weights[i] == greatest)
				weights[i] = level;
	}
}
