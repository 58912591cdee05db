/*
 * What the aggregators find out about their inputs as a whole: which of them count, and how much. Distances between inputs
 * come from the Gram matrix G of their differences from the model: |a - b|^2 = Gaa + Gbb - 2 Gab.
 */
#include "server/aggregate/aggregator.h"

#include "common/json.h"

#include <math.h>
#include <string.h>

static void weigh_equally(struct preparation *preparation)
{
	for (size_t i = 0; i < preparation->chosen_count; i++)
		preparation->weights[i] = 1.0L / (long double)preparation->chosen_count;
}

int prepare_equal(struct preparation *preparation, struct rounds_error *error)
{
	(void)error;
	weigh_equally(preparation);
	return 0;
}

int prepare_sum(struct preparation *preparation, struct rounds_error *error)
{
	(void)error;
	for (size_t i = 0; i < preparation->count; i++)
		preparation->weights[i] = 1;
	return 0;
}

int prepare_given(struct preparation *preparation, struct rounds_error *error)
{
	(void)error;
	for (size_t i = 0; i < preparation->count; i++)
		preparation->weights[i] = (long double)preparation->given[i];
	return 0;
}

int prepare_median(struct preparation *preparation, struct rounds_error *error)
{
	(void)error;
	preparation->trim = (preparation->count - 1) / 2;
	return 0;
}

/* Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018. */
int prepare_trimmed(struct preparation *preparation, struct rounds_error *error)
{
	double share = json_number_or(preparation->params, "trim", 0.2);

	preparation->trim = (size_t)(share * (double)preparation->count + 1e-9);
	if (2 * preparation->trim >= preparation->count)
		return error_set(error, ERROR_UNPROCESSABLE,
			"a trim of %g leaves nothing of %zu updates; it must be less than 0.5", share,
			preparation->count);
	return 0;
}

static double norm_of(const struct preparation *preparation, size_t input)
{
	return sqrt(fmax(preparation->gram[input * preparation->count + input], 0));
}

static double distance_between(const struct preparation *preparation, size_t a, size_t b)
{
	const double *gram = preparation->gram;
	size_t n = preparation->count;

	return sqrt(fmax(gram[a * n + a] + gram[b * n + b] - 2 * gram[a * n + b], 0));
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * Sun et al., Can You Really Backdoor Federated Learning?, 2019: each change is shortened to the bound; without one, the
 * median of the norms is the bound. What a change loses, the model gains.
 */
int prepare_clipped(struct preparation *preparation, struct rounds_error *error)
{
	double bound = json_number_or(preparation->params, "clip_norm", 0);
	size_t n = preparation->count;

	if (bound <= 0) {
		double *norms = calloc(n, sizeof(double));

		if (!norms)
			return error_no_memory(error);
		for (size_t i = 0; i < n; i++)
			norms[i] = norm_of(preparation, i);
		qsort(norms, n, sizeof(double), ascending);
		bound = (norms[(n - 1) / 2] + norms[n / 2]) / 2;
		free(norms);
	}
	for (size_t i = 0; i < n; i++) {
		double norm = norm_of(preparation, i);
		long double kept = norm > bound ? (long double)(bound / norm) : 1;

		preparation->of_model += preparation->weights[i] * (1 - kept);
		preparation->weights[i] *= kept;
	}
	return 0;
}

/*
 * Pillutla, Kakade, Harchaoui, Robust Aggregation for Federated Learning, 2019 (RFA): smoothed Weiszfeld iterations. All
 * iterates are mixtures of the inputs, so their distances to the inputs follow from the Gram matrix alone:
 * |x_i - sum w_j x_j|^2 = Gii - 2 (Gw)_i + w'Gw.
 */
int prepare_geometric(struct preparation *preparation, struct rounds_error *error)
{
	enum { ITERATIONS = 1000 };
	const double smoothing = 1e-6;
	size_t n = preparation->count;
	scoped(free) void *room = calloc(2 * n, sizeof(double));
	double *weights = room, *products = weights + n;

	if (!room)
		return error_no_memory(error);
	for (size_t i = 0; i < n; i++)
		weights[i] = (double)preparation->weights[i];
	for (int iteration = 0; iteration < ITERATIONS; iteration++) {
		double square = 0, sum = 0, moved = 0;

		for (size_t i = 0; i < n; i++) {
			products[i] = 0;
			for (size_t j = 0; j < n; j++)
				products[i] += preparation->gram[i * n + j] * weights[j];
			square += weights[i] * products[i];
		}
		for (size_t i = 0; i < n; i++) {
			double apart = sqrt(fmax(preparation->gram[i * n + i] - 2 * products[i] + square, 0));

			products[i] = (double)preparation->weights[i] / fmax(smoothing, apart);
			sum += products[i];
		}
		for (size_t i = 0; i < n; i++) {
			moved += fabs(products[i] / sum - weights[i]);
			weights[i] = products[i] / sum;
		}
		if (moved < 1e-13)
			break;
	}
	for (size_t i = 0; i < n; i++)
		preparation->weights[i] = (long double)weights[i];
	return 0;
}

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
			double apart = distance_between(preparation, input, j);

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
	weigh_equally(preparation);
	return 0;
}

int prepare_krum(struct preparation *preparation, struct rounds_error *error)
{
	size_t f;

	return hostile(preparation, "krum", 2, &f, error) || choose_by_score(preparation, f, 1, false, error) ? -1
													      : 0;
}

int prepare_multi_krum(struct preparation *preparation, struct rounds_error *error)
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
int prepare_bulyan(struct preparation *preparation, struct rounds_error *error)
{
	size_t f;

	if (hostile(preparation, "bulyan", 4, &f, error) ||
		choose_by_score(preparation, f, preparation->count - 2 * f, true, error))
		return -1;
	preparation->trim = f;
	return 0;
}
