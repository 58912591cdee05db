/*
 * Aggregators that choose among the inputs by how near they lie to one another.
 *
 *     krum        the one input that lies nearest to its neighbours
 *     multi_krum  the mean of those that do
 *     bulyan      inputs chosen by Krum, then of every coordinate the values nearest to the median
 */
#include "server/aggregate/aggregators.h"
#include "server/aggregate/gram.h"
#include "server/aggregate/kernels.h"

#include "common/json.h"

#include <string.h>

static const struct field params[] = {
	{ "byzantine", FIELD_INTEGER,
		"krum, multi_krum, bulyan: how many hostile sites to withstand; 0: as many as the method can",
		.fallback = "0", .min = 0, .max = 10000 },
	{ NULL },
};

/* How many hostile inputs to withstand: as the job says, or as many as the method can among so many. */
static int hostile(const struct preparation *preparation, const char *method, size_t factor, size_t *count,
	struct rounds_error *error)
{
	size_t n = preparation->count, asked = (size_t)json_integer_or(preparation->params, "byzantine", 0);

	*count = asked > 0 ? asked : n < 3 ? 0 : (n - 3) / factor;
	if (n < factor * *count + 3)
		return error_set(error, ERROR_UNPROCESSABLE,
			"%s with byzantine %zu needs at least %zu updates; there are %zu", method, *count,
			factor * *count + 3, n);
	return 0;
}

/*
 * Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NeurIPS 2017. An input's score
 * is the sum of the squared distances to its n - f - 2 nearest neighbours among those that are left.
 */
static double score(
	const struct preparation *preparation, const bool *taken, size_t input, size_t left, size_t f, double *room)
{
	size_t count = 0, neighbours = left > f + 2 ? left - f - 2 : 1;
	double sum = 0;

	for (size_t j = 0; j < preparation->count; j++)
		if (j != input && !taken[j]) {
			double apart = gram_distance(preparation, input, j);

			room[count++] = apart * apart;
		}
	qsort(room, count, sizeof(double), ascending);
	for (size_t j = 0; j < neighbours && j < count; j++)
		sum += room[j];
	return sum;
}

/* Takes `wanted` inputs, each the best of those left; their scores are looked at again after each if `anew`. */
static int choose_by_score(
	struct preparation *preparation, size_t f, size_t wanted, bool anew, struct rounds_error *error)
{
	size_t n = preparation->count;
	scoped(free) void *flags = calloc(n, sizeof(bool));
	scoped(free) void *room = calloc(2 * n, sizeof(double));
	bool *taken = flags;
	double *scores = room;

	if (!flags || !room)
		return error_no_memory(error);
	for (size_t done = 0; done < wanted; done++) {
		size_t best = n;

		for (size_t i = 0; i < n && (done == 0 || anew); i++)
			scores[i] = taken[i] ? 0 : score(preparation, taken, i, n - (anew ? done : 0), f, scores + n);
		for (size_t i = 0; i < n; i++)
			if (!taken[i] && (best == n || scores[i] < scores[best]))
				best = i;
		taken[best] = true;
	}
	preparation->chosen_count = 0;
	for (size_t i = 0; i < n; i++)
		if (taken[i])
			preparation->chosen[preparation->chosen_count++] = i;
	prepare_equal(preparation);
	return 0;
}

static int choose_krum(struct preparation *preparation, struct rounds_error *error)
{
	size_t f;

	return hostile(preparation, "krum", 2, &f, error) || choose_by_score(preparation, f, 1, false, error) ? -1
													      : 0;
}

static int choose_multi_krum(struct preparation *preparation, struct rounds_error *error)
{
	size_t f;

	if (hostile(preparation, "multi_krum", 2, &f, error))
		return -1;
	return choose_by_score(preparation, f, preparation->count - f, false, error);
}

/*
 * El Mhamdi, Guerraoui, Rouault, The Hidden Vulnerability of Distributed Learning in Byzantium, ICML 2018: n - 2f inputs by
 * Krum, one after another; then of every coordinate the n - 4f values nearest to the median.
 */
static int choose_bulyan(struct preparation *preparation, struct rounds_error *error)
{
	size_t f;

	if (hostile(preparation, "bulyan", 4, &f, error) ||
		choose_by_score(preparation, f, preparation->count - 2 * f, true, error))
		return -1;
	preparation->trim = f;
	return 0;
}

const struct aggregator aggregator_krum = {
	.name = "krum",
	.params = params,
	.is_offered = true,
	.needs_gram = true,
	.prepare = choose_krum,
	.kernel = kernel_mean,
};

const struct aggregator aggregator_multi_krum = {
	.name = "multi_krum",
	.params = params,
	.is_offered = true,
	.needs_gram = true,
	.prepare = choose_multi_krum,
	.kernel = kernel_mean,
};

const struct aggregator aggregator_bulyan = {
	.name = "bulyan",
	.params = params,
	.is_offered = true,
	.needs_gram = true,
	.prepare = choose_bulyan,
	.kernel = kernel_nearest,
};
