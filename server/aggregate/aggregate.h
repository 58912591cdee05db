/*
 * Views of tensors in, tensors into a sink out.
 *
 * All inputs hold the same tensors (names, shapes, dtypes). They are read block by block, in the order given,
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
	struct view view;
	double weight; /* finite; positive but for "combination" */
};

struct aggregator;

/* How one input lies to the result: what an operator looks at to see who is out of line. */
struct outlier {
	double distance; /* L2 norm of input - aggregate */
	double cosine;   /* between input - model and aggregate - model; NaN if one of them is zero */
};

struct aggregate_order {
	const struct aggregator *aggregator;
	const json_t *params;     /* of the aggregator, see aggregator_params; NULL: the defaults */
	const json_t *metadata;   /* of the output; NULL: the first input's header stays as it is */
	const struct view *model; /* that the inputs were trained from; NULL: none, as if it were zero */
	const struct aggregate_input *inputs;
	size_t count;
	unsigned threads;
	struct outlier *outliers; /* room for one per input; NULL: not wanted */
};

/* NULL if there is none of that name. */
const struct aggregator *aggregator_find(const char *name);
/* Whether its result depends on the model that the inputs were trained from. */
bool aggregator_needs_model(const struct aggregator *aggregator);

/*
 * Puts the aggregate into `output`. ERROR_UNPROCESSABLE names the tensor in which inputs differ, or says how many inputs the
 * aggregator needs; ERROR_NO_SPACE if it does not fit.
 */
must_check int aggregate(const struct aggregate_order *order, const struct sink *output, struct rounds_error *error);

/* The same into memory of the tensors' total size, behind one another in the order of the first input's bytes. */
must_check int aggregate_to_memory(const struct aggregate_order *order, uint8_t *output, struct rounds_error *error);

/*
 * No weight may be more than `share` of their sum: greater ones are lowered to it (all become equal where the share
 * is too small for so few inputs).
 */
void weights_cap(double *weights, size_t count, double share);

#endif
