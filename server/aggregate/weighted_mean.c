/*
 * The weighted mean of McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data,
 * AISTATS 2017: sum of w_i x_i with weights that add up to one. One pass over all inputs, in double.
 */
#include "server/aggregate/aggregate.h"

#include <string.h>

/* Every lane adds its inputs in the same order, so each of these variants gives the same bits. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_CPU
#endif

typedef float floats __attribute__((vector_size(32)));
typedef double doubles __attribute__((vector_size(64)));
enum { LANES = 8 };

FOR_EACH_CPU
static void mean_f32(
	const uint8_t *const *inputs, const double *weights, size_t inputs_count, size_t count, float *output)
{
	size_t at = 0;

	for (; at + 2 * LANES <= count; at += 2 * LANES) {
		doubles low = { 0 }, high = { 0 };
		floats a, b;

		for (size_t i = 0; i < inputs_count; i++) {
			const uint8_t *from = inputs[i] + at * sizeof(float);

			memcpy(&a, from, sizeof(a));
			memcpy(&b, from + sizeof(a), sizeof(b));
			low += weights[i] * __builtin_convertvector(a, doubles);
			high += weights[i] * __builtin_convertvector(b, doubles);
		}
		a = __builtin_convertvector(low, floats);
		b = __builtin_convertvector(high, floats);
		memcpy(output + at, &a, sizeof(a));
		memcpy(output + at + LANES, &b, sizeof(b));
	}
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

/* Doubles are added in the 80-bit format, so that their mean is right to the last place as well. */
static void mean_f64(const struct stretch *stretch)
{
	long double total = 0;

	for (size_t i = 0; i < stretch->inputs_count; i++)
		total += (long double)stretch->given[i];
	for (size_t at = 0; at < stretch->count; at++) {
		long double sum = 0;
		double value;

		for (size_t i = 0; i < stretch->inputs_count; i++) {
			memcpy(&value, stretch->inputs[i] + at * sizeof(value), sizeof(value));
			sum += (long double)stretch->given[i] * (long double)value;
		}
		value = (double)(sum / total);
		memcpy(stretch->output + at * sizeof(value), &value, sizeof(value));
	}
}

static void mean_any(const struct stretch *stretch)
{
	enum { CHUNK = 1024 };
	size_t width = dtype_size(stretch->dtype);
	double values[CHUNK], sums[CHUNK];

	for (size_t at = 0; at < stretch->count; at += CHUNK) {
		size_t count = stretch->count - at < CHUNK ? stretch->count - at : CHUNK;

		memset(sums, 0, sizeof(sums));
		for (size_t i = 0; i < stretch->inputs_count; i++) {
			dtype_load(stretch->dtype, stretch->inputs[i] + at * width, count, values);
			for (size_t j = 0; j < count; j++)
				sums[j] += stretch->weights[i] * values[j];
		}
		dtype_store(stretch->dtype, sums, count, stretch->output + at * width);
	}
}

static void weighted_mean(const struct stretch *stretch)
{
	if (stretch->dtype == DTYPE_F32)
		mean_f32(stretch->inputs, stretch->weights, stretch->inputs_count, stretch->count,
			(float *)(void *)stretch->output);
	else if (stretch->dtype == DTYPE_F64)
		mean_f64(stretch);
	else
		mean_any(stretch);
}

const struct aggregator aggregator_weighted_mean = {
	.name = "weighted_mean",
	.summary = "The mean of the updates, weighted by their sample counts",
	.kernel = weighted_mean,
};
