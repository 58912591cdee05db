/* Inner products of what the inputs changed: the one pass over the data that distances need. */
#include "server/aggregate/gram.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

int gram_work_new(size_t count, struct gram_work *work, struct rounds_error *error)
{
	*work = (struct gram_work){ count, malloc(count * GRAM_COLUMNS * sizeof(float)),
		malloc(count * count * sizeof(float)) };
	return work->rows && work->products ? 0 : error_no_memory(error);
}

void gram_work_free(struct gram_work work)
{
	free(work.rows);
	free(work.products);
}

static void difference(enum dtype dtype, const uint8_t *input, const uint8_t *model, size_t count, float *row)
{
	double values[512], from[512] = { 0 };
	size_t width = dtype_size(dtype);

	if (dtype == DTYPE_F32) {
		memcpy(row, input, count * sizeof(float));
		for (size_t i = 0; model && i < count; i++) {
			float value;

			memcpy(&value, model + i * sizeof(float), sizeof(value));
			row[i] -= value;
		}
		return;
	}
	for (size_t at = 0; at < count; at += ARRAY_SIZE(values)) {
		size_t some = count - at < ARRAY_SIZE(values) ? count - at : ARRAY_SIZE(values);

		dtype_load(dtype, input + at * width, some, values);
		if (model)
			dtype_load(dtype, model + at * width, some, from);
		for (size_t i = 0; i < some; i++)
			row[at + i] = (float)(values[i] - from[i]);
	}
}

void gram_add(const struct gram_work *work, enum dtype dtype, const uint8_t *const *inputs, const uint8_t *model,
	size_t elements, double *gram)
{
	size_t n = work->count, width = dtype_size(dtype);

	for (size_t at = 0; at < elements; at += GRAM_COLUMNS) {
		size_t columns = elements - at < GRAM_COLUMNS ? elements - at : GRAM_COLUMNS;

		for (size_t i = 0; i < n; i++)
			difference(dtype, inputs[i] + at * width, model ? model + at * width : NULL, columns,
				work->rows + i * columns);
		cblas_ssyrk(CblasRowMajor, CblasLower, CblasNoTrans, (blasint)n, (blasint)columns, 1, work->rows,
			(blasint)columns, 0, work->products, (blasint)n);
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j++)
				gram[i * n + j] += (double)work->products[i > j ? i * n + j : j * n + i];
	}
}

void outlier_sums(
	const struct stretch *stretch, const uint8_t *const *inputs, size_t count, const uint8_t *model, double *sums)
{
	enum { CHUNK = 512 };
	double input[CHUNK], from[CHUNK] = { 0 }, out[CHUNK];
	size_t width = dtype_size(stretch->dtype), given = dtype_size(stretch->given);

	for (size_t at = 0; at < stretch->count; at += CHUNK) {
		size_t some = stretch->count - at < CHUNK ? stretch->count - at : CHUNK;

		if (model)
			dtype_load(stretch->given, model + at * given, some, from);
		dtype_load(stretch->dtype, stretch->output + at * width, some, out);
		for (size_t k = 0; k < some; k++)
			sums[3 * count] += (out[k] - from[k]) * (out[k] - from[k]);
		for (size_t i = 0; i < count; i++) {
			double apart = 0, inner = 0, norm = 0;

			dtype_load(stretch->given, inputs[i] + at * given, some, input);
			for (size_t k = 0; k < some; k++) {
				double change = input[k] - from[k];

				apart += (input[k] - out[k]) * (input[k] - out[k]);
				inner += change * (out[k] - from[k]);
				norm += change * change;
			}
			sums[3 * i] += apart;
			sums[3 * i + 1] += inner;
			sums[3 * i + 2] += norm;
		}
	}
}

double gram_norm(const struct preparation *preparation, size_t input)
{
	return sqrt(fmax(preparation->gram[input * preparation->count + input], 0));
}

double gram_distance(const struct preparation *preparation, size_t a, size_t b)
{
	const double *gram = preparation->gram;
	size_t n = preparation->count;

	return sqrt(fmax(gram[a * n + a] + gram[b * n + b] - 2 * gram[a * n + b], 0));
}
