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
#include "common/fields.h"
#include "common/tensors.h"

#include <stddef.h>

struct aggregate_input {
	const char *site; /* who sent it; borrowed, NULL: nobody */
	struct view view;
	const struct encoding *encoding; /* how the file says its tensors (source.h); NULL: plainly */
	struct view base; /* the model that it was trained from, where the inputs do not have one in common */
	double weight;    /* finite */
};

struct aggregator;
struct encoding;
struct preparation;
struct stretch;
typedef int kernel_fn(const struct stretch *stretch); /* -1 without memory */

/* How one input lies to the result: what an operator looks at to see who is out of line. */
struct outlier {
	double distance; /* L2 norm of input - aggregate */
	double cosine;   /* between input - model and aggregate - model; NaN if one of them is zero */
};

struct aggregate_order {
	const struct aggregator *aggregator;
	const json_t *params;     /* the aggregator's own; what is missing has its default */
	const json_t *metadata;   /* of the output; NULL: the first input's header stays as it is */
	const struct view *model; /* that the inputs were trained from; NULL: none, as if it were zero */
	const struct aggregate_input *inputs;
	size_t count;
	unsigned threads;
	struct outlier *outliers; /* room for one per input; NULL: not wanted */
};

/* A way to make one model of a round's updates: a row of the table in aggregators.c. */
struct aggregator {
	const char *name;           /* what a job, a plan and a manifest call it */
	const struct field *params; /* its own, each with a default; NULL: none */
	bool is_offered;            /* a job may name it; the others are named by their workflow */
	bool is_unlike_model;       /* what it makes is not like a model, and no input can be an outlier */
	bool needs_model;           /* the model that the inputs were trained from must be there */
	/* The whole output at once; */
	int (*make)(const struct aggregate_order *order, const struct sink *output, struct rounds_error *error);
	/* or, without it, block by block with these (kernels.h). */
	bool needs_gram; /* how the inputs lie to one another and to the model */
	int (*prepare)(struct preparation *preparation, struct rounds_error *error); /* NULL: a weighted mean */
	kernel_fn *kernel;
};

/* NULL if there is none of that name. */
const struct aggregator *aggregator_find(const char *name);
/* Those that a job may name, with their params, for its table of fields. */
struct variant aggregator_variant(size_t index);
/* Whether its result depends on the model that the inputs were trained from. */
bool aggregator_needs_model(const struct aggregator *aggregator);

/*
 * Puts the aggregate into `output`. ERROR_UNPROCESSABLE names the tensor in which inputs differ, or says how many inputs the
 * aggregator needs; ERROR_NO_SPACE if it does not fit.
 */
must_check int aggregate(const struct aggregate_order *order, const struct sink *output, struct rounds_error *error);

/* The same, of what goes block by block, into memory of the tensors' total size, in the order of the first input's bytes. */
must_check int aggregate_to_memory(const struct aggregate_order *order, uint8_t *output, struct rounds_error *error);

/*
 * No weight may be more than `share` of their sum: greater ones are lowered to it (all become equal where the share
 * is too small for so few inputs).
 */
void weights_cap(double *weights, size_t count, double share);

#endif
