#include "server/aggregate/summary.h"

#include "common/json.h"

#include <math.h>

enum { BLOCK = 4096, BLOCKS = 256 };

struct moments {
	double min, max, mean, squares;
	uint64_t count, not_finite;
};

/* Welford's update: stable however far the mean is from zero. */
static void add(struct moments *moments, double value)
{
	double before = value - moments->mean;

	moments->count++;
	moments->mean += before / (double)moments->count;
	moments->squares += before * (value - moments->mean);
	moments->min = fmin(moments->min, value);
	moments->max = fmax(moments->max, value);
}

/* Elements of the i-th block that is looked at; returns how many. */
static size_t load(const struct tensor_file *file, const struct tensor *tensor, size_t i, double *values)
{
	uint64_t blocks = (tensor->count + BLOCK - 1) / BLOCK;
	uint64_t block = blocks <= BLOCKS ? i : i * (blocks - 1) / (BLOCKS - 1);
	uint64_t first = block * BLOCK, left;

	if (block >= blocks)
		return 0;
	left = tensor->count - first;
	if (left > BLOCK)
		left = BLOCK;
	dtype_load(tensor->dtype,
		(const uint8_t *)file->view.bytes + tensor->offset + first * dtype_size(tensor->dtype), (size_t)left,
		values);
	return (size_t)left;
}

static struct moments measure(const struct tensor_file *file, const struct tensor *tensor)
{
	struct moments moments = { .min = INFINITY, .max = -INFINITY };
	double values[BLOCK];

	for (size_t i = 0; i < BLOCKS; i++) {
		size_t count = load(file, tensor, i, values);

		for (size_t j = 0; j < count; j++) {
			if (isfinite(values[j]))
				add(&moments, values[j]);
			else
				moments.not_finite++;
		}
	}
	return moments;
}

static void fill(const struct tensor_file *file, const struct tensor *tensor, const struct moments *moments,
	size_t bins, uint64_t *counts)
{
	double values[BLOCK], width = (moments->max - moments->min) / (double)bins;

	for (size_t i = 0; i < BLOCKS; i++) {
		size_t count = load(file, tensor, i, values);

		for (size_t j = 0; j < count; j++) {
			double at = width > 0 ? (values[j] - moments->min) / width : 0;

			if (isfinite(at))
				counts[at < (double)(bins - 1) ? (size_t)fmax(at, 0) : bins - 1]++;
		}
	}
}

json_t *tensor_summary(const struct tensor_file *file, const struct tensor *tensor, size_t bins)
{
	struct moments moments = measure(file, tensor);
	uint64_t counts[SUMMARY_BINS_LIMIT] = { 0 };
	uint64_t looked_at = moments.count + moments.not_finite;
	bool any = moments.count > 0;
	json_t *histogram = json_array();

	if (any)
		fill(file, tensor, &moments, bins, counts);
	for (size_t i = 0; i < bins; i++)
		json_array_append_new(histogram, json_integer((json_int_t)counts[i]));
	return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:o}", "count", (json_int_t)tensor->count, "looked_at",
		(json_int_t)looked_at, "min", json_number_or_null(moments.min), "max",
		json_number_or_null(moments.max), "mean", json_number_or_null(any ? moments.mean : NAN), "sd",
		json_number_or_null(any ? sqrt(moments.squares / (double)moments.count) : NAN), "not_finite",
		(json_int_t)moments.not_finite, "histogram", histogram);
}
