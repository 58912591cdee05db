/*
 * Files of tensors in, a file of tensors out.
 *
 * All inputs hold the same tensors (names, shapes, dtypes). They are mapped, read block by block, in the order given,
 * into double accumulators: memory does not grow with the model or with the number of inputs, and the result is
 * the same to the bit with any number of threads. The caller gives inputs in the order of the sites' names, so
 * that the order of arrival does not matter either.
 */
#ifndef ROUNDS_SERVER_AGGREGATE_AGGREGATE_H
#define ROUNDS_SERVER_AGGREGATE_AGGREGATE_H

#include "common/error.h"
#include "common/tensors.h"

#include <stddef.h>

struct aggregate_input {
	const char *path;
	double weight; /* positive, finite */
};

/* What the kernels see: one tensor's stretch in every input. */
struct stretch {
	enum dtype dtype;
	const uint8_t *const *inputs;
	const double *weights; /* they add up to 1, nearly */
	const double *given;   /* as they were given */
	size_t inputs_count;
	size_t count;    /* elements */
	uint8_t *output; /* room for them */
};

struct aggregator {
	const char *name; /* what a plan and a manifest call it */
	const char *summary;
	void (*kernel)(const struct stretch *stretch);
};

/* NULL if there is none of that name. */
const struct aggregator *aggregator_find(const char *name);

/*
 * Writes the aggregate to `output_path` (made or emptied). ERROR_UNPROCESSABLE names the tensor in which inputs
 * differ; ERROR_NO_SPACE if it does not fit. An output that failed is removed. It is not synced.
 */
must_check int aggregate_files(const struct aggregator *aggregator, const struct aggregate_input *inputs,
	size_t count, unsigned threads, const char *output_path, struct rounds_error *error);

/* The same into memory of the tensors' total size, behind one another in the order of the first input's bytes. */
must_check int aggregate_to_memory(const struct aggregator *aggregator, const struct aggregate_input *inputs,
	size_t count, unsigned threads, uint8_t *output, struct rounds_error *error);

/*
 * No weight may be more than `share` of their sum: greater ones are lowered to it (all become equal where the share
 * is too small for so few inputs).
 */
void weights_cap(double *weights, size_t count, double share);

extern const struct aggregator aggregator_weighted_mean;

#endif
