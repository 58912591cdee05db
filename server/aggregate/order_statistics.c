/*
 * Kernels that sort: median, trimmed mean, and the mean of the values nearest to the median. All inputs' values of one
 * coordinate are sorted by a network of compare-exchanges, a vector of coordinates at a time, without a branch.
 * Batcher, Sorting networks and their applications, AFIPS 1968 (odd-even merge sort, here for any count).
 */
#include "server/aggregate/wide.h"

#include <math.h>
#include <string.h>

enum { LANES = 16 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t masks __attribute__((vector_size(LANES * sizeof(int32_t))));

struct exchange {
	uint32_t low, high;
};

/* Knuth, TAOCP 3, 5.2.2, algorithm M (merge exchange). Counts if `network` is NULL. */
static size_t network_make(size_t count, struct exchange *network)
{
	size_t made = 0, top = 1;

	while (2 * top < count)
		top *= 2;
	for (size_t p = top; count > 1 && p > 0; p /= 2) {
		size_t q = top, r = 0, d = p;

		for (;;) {
			for (size_t i = 0; i + d < count; i++) {
				if ((i & p) != r)
					continue;
				if (network)
					network[made] = (struct exchange){ (uint32_t)i, (uint32_t)(i + d) };
				made++;
			}
			if (q == p)
				break;
			d = q - p;
			q /= 2;
			r = p;
		}
	}
	return made;
}

__attribute__((always_inline)) static inline void sort_lanes(
	lanes *values, const struct exchange *network, size_t exchanges)
{
	for (size_t i = 0; i < exchanges; i++) {
		lanes a = values[network[i].low], b = values[network[i].high];
		masks less = a < b;

		values[network[i].low] = (lanes)((less & (masks)a) | (~less & (masks)b));
		values[network[i].high] = (lanes)((less & (masks)b) | (~less & (masks)a));
	}
}

typedef void sort_fn(lanes *values, const struct exchange *network, size_t exchanges);

static void sort_plain(lanes *values, const struct exchange *network, size_t exchanges)
{
	sort_lanes(values, network, exchanges);
}

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("avx512f"))) static void sort_avx512(
	lanes *values, const struct exchange *network, size_t exchanges)
{
	for (size_t i = 0; i < exchanges; i++) {
		__m512 a = _mm512_load_ps(&values[network[i].low]), b = _mm512_load_ps(&values[network[i].high]);

		_mm512_store_ps(&values[network[i].low], _mm512_min_ps(a, b));
		_mm512_store_ps(&values[network[i].high], _mm512_max_ps(a, b));
	}
}

__attribute__((target("avx2"))) static void sort_avx2(lanes *values, const struct exchange *network, size_t exchanges)
{
	for (size_t i = 0; i < exchanges; i++) {
		float *low = (float *)&values[network[i].low], *high = (float *)&values[network[i].high];

		for (int half = 0; half < LANES; half += 8) {
			__m256 a = _mm256_load_ps(low + half), b = _mm256_load_ps(high + half);

			_mm256_store_ps(low + half, _mm256_min_ps(a, b));
			_mm256_store_ps(high + half, _mm256_max_ps(a, b));
		}
	}
}
#endif

static sort_fn *sort_for_this_processor(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx512f"))
		return sort_avx512;
	if (__builtin_cpu_supports("avx2"))
		return sort_avx2;
#endif
	return sort_plain;
}

/* What becomes of one coordinate's sorted values. */
typedef double finish_fn(const double *sorted, size_t count, size_t trim);

static double finish_trimmed(const double *sorted, size_t count, size_t trim)
{
	double sum = 0;

	for (size_t i = trim; i < count - trim; i++)
		sum += sorted[i];
	return sum / (double)(count - 2 * trim);
}

/* The values nearest to the median stand side by side: the window begins where its far ends balance. */
static double finish_nearest(const double *sorted, size_t count, size_t trim)
{
	double median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2, sum = 0;
	size_t kept = count - 2 * trim, begin = 0;

	while (begin + kept < count && fabs(sorted[begin + kept] - median) < fabs(sorted[begin] - median))
		begin++;
	for (size_t i = begin; i < begin + kept; i++)
		sum += sorted[i];
	return sum / (double)kept;
}

struct sorter {
	finish_fn *finish;
	sort_fn *sort;
	struct exchange *network;
	size_t exchanges;
	lanes *values;  /* one vector for each input */
	double *column; /* one coordinate of all inputs */
};

static void load_lanes(const struct stretch *stretch, size_t at, size_t some, lanes *values)
{
	for (size_t i = 0; i < stretch->inputs_count; i++) {
		const uint8_t *from = stretch->inputs[i] + at * sizeof(float);

		if (some < LANES)
			memset(&values[i], 0, sizeof(values[i]));
		memcpy(&values[i], from, some * sizeof(float));
	}
}

static void sort_vectors(const struct stretch *stretch, const struct sorter *sorter, size_t at, size_t some)
{
	/* A trimmed mean looks only at what lies between; the nearest values may lie anywhere. */
	size_t count = stretch->inputs_count, first = sorter->finish == finish_trimmed ? stretch->trim : 0;
	double result[LANES];

	load_lanes(stretch, at, some, sorter->values);
	sorter->sort(sorter->values, sorter->network, sorter->exchanges);
	for (size_t lane = 0; lane < some; lane++) {
		for (size_t i = first; i < count - first; i++)
			sorter->column[i] = (double)sorter->values[i][lane];
		result[lane] = sorter->finish(sorter->column, count, stretch->trim);
	}
	dtype_store(stretch->dtype, result, some, stretch->output + at * dtype_size(stretch->dtype));
}

int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void sort_column(const struct stretch *stretch, const struct sorter *sorter, size_t at)
{
	size_t width = dtype_size(stretch->dtype);
	double result;

	for (size_t i = 0; i < stretch->inputs_count; i++)
		dtype_load(stretch->given, stretch->inputs[i] + at * width, 1, &sorter->column[i]);
	qsort(sorter->column, stretch->inputs_count, sizeof(double), ascending);
	result = sorter->finish(sorter->column, stretch->inputs_count, stretch->trim);
	dtype_store(stretch->dtype, &result, 1, stretch->output + at * width);
}

static void sort_wide(const struct stretch *stretch, const struct sorter *sorter, size_t at)
{
	int64_t base;

	if (!wide_find(stretch, at, &base))
		return;
	for (size_t i = 0; i < stretch->inputs_count; i++)
		sorter->column[i] = (double)wide_distance(stretch, i, at, base);
	qsort(sorter->column, stretch->inputs_count, sizeof(double), ascending);
	wide_put(stretch, at, base, 1,
		(long double)sorter->finish(sorter->column, stretch->inputs_count, stretch->trim));
}

static int sort_stretch(const struct stretch *stretch, finish_fn *finish)
{
	size_t count = stretch->inputs_count, exchanges = network_make(count, NULL);
	scoped(free) void *network = malloc((exchanges + 1) * sizeof(struct exchange));
	scoped(free) void *values = aligned_alloc(sizeof(lanes), count * sizeof(lanes));
	scoped(free) void *column = malloc(count * sizeof(double));
	struct sorter sorter = { finish, sort_for_this_processor(), network, exchanges, values, column };

	if (!network || !values || !column)
		return -1;
	(void)network_make(count, network);
	if (stretch->given == DTYPE_F32)
		for (size_t at = 0; at < stretch->count; at += LANES)
			sort_vectors(stretch, &sorter, at, stretch->count - at < LANES ? stretch->count - at : LANES);
	else
		for (size_t at = 0; at < stretch->count; at++)
			sort_column(stretch, &sorter, at);
	if (stretch->dtype == DTYPE_I64)
		for (size_t at = 0; at < stretch->count; at++)
			sort_wide(stretch, &sorter, at);
	return 0;
}

int kernel_trimmed(const struct stretch *stretch)
{
	return sort_stretch(stretch, finish_trimmed);
}

int kernel_nearest(const struct stretch *stretch)
{
	return sort_stretch(stretch, finish_nearest);
}
