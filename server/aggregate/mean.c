/*
 * The mean of McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017, and
 * of every other linear aggregator: the sum of w_i x_i. One pass over all inputs, in double.
 */
#include "server/aggregate/wide.h"

#include <math.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

/*
 * The loop over all inputs is bound by memory: it visits 64 elements of one input before it turns to the next, which the
 * processor's own prefetching follows best. Every element adds its inputs in the same order, in the same double
 * arithmetic (no fused multiply-add), so each of the variants below gives the same bits.
 */
typedef void mean_fn(
	const uint8_t *const *inputs, const double *weights, size_t inputs_count, size_t count, float *output);

static void mean_tail(const uint8_t *const *inputs, const double *weights, size_t inputs_count, size_t at,
	size_t count, float *output)
{
	for (; at < count; at++) {
		double sum = 0;

		for (size_t i = 0; i < inputs_count; i++) {
			float value;

			memcpy(&value, inputs[i] + at * sizeof(float), sizeof(value));
			sum += weights[i] * (double)value;
		}
		output[at] = (float)sum;
	}
}

/* Four doubles at a time is what every compiler turns into good code for every processor. */
typedef float floats __attribute__((vector_size(16)));
typedef double doubles __attribute__((vector_size(32)));

__attribute__((always_inline)) static inline void mean_vectors(
	const uint8_t *const *inputs, const double *weights, size_t inputs_count, size_t count, float *output)
{
	enum { LANES = 4, VECTORS = 8, STEP = LANES * VECTORS };
	size_t at = 0;

	for (; at + STEP <= count; at += STEP) {
		doubles sums[VECTORS] = { { 0 } };

		for (size_t i = 0; i < inputs_count; i++) {
			const uint8_t *from = inputs[i] + at * sizeof(float);

#pragma GCC unroll 8
			for (size_t j = 0; j < VECTORS; j++) {
				floats values;

				memcpy(&values, from + j * sizeof(values), sizeof(values));
				sums[j] += weights[i] * __builtin_convertvector(values, doubles);
			}
		}
#pragma GCC unroll 8
		for (size_t j = 0; j < VECTORS; j++) {
			floats values = __builtin_convertvector(sums[j], floats);

			memcpy(output + at + j * LANES, &values, sizeof(values));
		}
	}
	mean_tail(inputs, weights, inputs_count, at, count, output);
}

static void mean_plain(
	const uint8_t *const *inputs, const double *weights, size_t inputs_count, size_t count, float *output)
{
	mean_vectors(inputs, weights, inputs_count, count, output);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void mean_avx2(
	const uint8_t *const *inputs, const double *weights, size_t inputs_count, size_t count, float *output)
{
	mean_vectors(inputs, weights, inputs_count, count, output);
}

/* Past the caches where it can: the output is not read again here, and memory need not be read before it is written. */
__attribute__((target("avx512f"))) static inline void store(float *output, __m256 values, bool aligned)
{
	if (aligned)
		_mm256_stream_ps(output, values);
	else
		_mm256_storeu_ps(output, values);
}

__attribute__((target("avx512f"))) static void mean_avx512(
	const uint8_t *const *inputs, const double *weights, size_t inputs_count, size_t count, float *output)
{
	enum { LANES = 8, VECTORS = 8, STEP = LANES * VECTORS };
	bool aligned = (uintptr_t)output % sizeof(__m256) == 0;
	size_t at = 0;

	for (; at + STEP <= count; at += STEP) {
		__m512d sums[VECTORS];

#pragma GCC unroll 8
		for (int j = 0; j < VECTORS; j++)
			sums[j] = _mm512_setzero_pd();
		for (size_t i = 0; i < inputs_count; i++) {
			const float *from = (const float *)(const void *)inputs[i] + at;
			__m512d weight = _mm512_set1_pd(weights[i]);

#pragma GCC unroll 8
			for (int j = 0; j < VECTORS; j++)
				sums[j] = _mm512_add_pd(sums[j],
					_mm512_mul_pd(weight, _mm512_cvtps_pd(_mm256_loadu_ps(from + j * LANES))));
		}
#pragma GCC unroll 8
		for (int j = 0; j < VECTORS; j++)
			store(output + at + j * LANES, _mm512_cvtpd_ps(sums[j]), aligned);
	}
	_mm_sfence();
	mean_tail(inputs, weights, inputs_count, at, count, output);
}
#endif

static mean_fn *mean_f32(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx512f"))
		return mean_avx512;
	if (__builtin_cpu_supports("avx2"))
		return mean_avx2;
#endif
	return mean_plain;
}

/* Doubles are added in the 80-bit format, so that their mean is right to the last place as well. */
static void mean_f64(const struct stretch *stretch)
{
	for (size_t at = 0; at < stretch->count; at++) {
		long double sum = 0;
		double value;

		for (size_t i = 0; i < stretch->inputs_count; i++) {
			memcpy(&value, stretch->inputs[i] + at * sizeof(value), sizeof(value));
			sum += stretch->exact[i] * (long double)value;
		}
		value = (double)sum;
		memcpy(stretch->output + at * sizeof(value), &value, sizeof(value));
	}
}

static void mean_any(const struct stretch *stretch)
{
	enum { CHUNK = 1024 };
	size_t width = dtype_size(stretch->dtype), given = dtype_size(stretch->given);
	double values[CHUNK], sums[CHUNK];

	for (size_t at = 0; at < stretch->count; at += CHUNK) {
		size_t count = stretch->count - at < CHUNK ? stretch->count - at : CHUNK;

		memset(sums, 0, sizeof(sums));
		for (size_t i = 0; i < stretch->inputs_count; i++) {
			dtype_load(stretch->given, stretch->inputs[i] + at * given, count, values);
			for (size_t j = 0; j < count; j++)
				sums[j] += stretch->weights[i] * values[j];
		}
		dtype_store(stretch->dtype, sums, count, stretch->output + at * width);
	}
}

/* The weights of a mean add up to 1 but for rounding, which must not move a base of 2^60. */
static void mean_wide(const struct stretch *stretch)
{
	long double whole = 0;
	int64_t base;

	for (size_t i = 0; i < stretch->inputs_count; i++)
		whole += stretch->exact[i];
	if (fabsl(whole - 1) < 1e-15L)
		whole = 1;
	for (size_t at = 0; at < stretch->count; at++) {
		long double distance = 0;

		if (!wide_find(stretch, at, &base))
			continue;
		for (size_t i = 0; i < stretch->inputs_count; i++)
			distance += stretch->exact[i] * wide_distance(stretch, i, at, base);
		wide_put(stretch, at, base, whole, distance);
	}
}

int kernel_mean(const struct stretch *stretch)
{
	if (stretch->dtype == DTYPE_F32)
		mean_f32()(stretch->inputs, stretch->weights, stretch->inputs_count, stretch->count,
			(float *)(void *)stretch->output);
	else if (stretch->dtype == DTYPE_F64)
		mean_f64(stretch);
	else
		mean_any(stretch);
	if (stretch->dtype == DTYPE_I64)
		mean_wide(stretch);
	return 0;
}
