/*
 * What an aggregator works with that goes block by block. Before the blocks are read it looks at the inputs as a whole and says
 * which of them count and how much (`prepare`); then its kernel makes each block of the result. Most are linear: a mean whose
 * weights prepare found.
 */
#ifndef ROUNDS_SERVER_AGGREGATE_KERNELS_H
#define ROUNDS_SERVER_AGGREGATE_KERNELS_H

#include "server/aggregate/aggregate.h"

/* The inputs as a whole. */
struct preparation {
	const json_t *params;          /* each of the aggregator's own, given or default */
	size_t count;                  /* inputs */
	const struct tensors *tensors; /* that all of them have */
	const double *given;           /* their weights */
	const double *gram;            /* see gram.h; NULL unless the aggregator asked */
	/* To be filled in: */
	size_t *chosen; /* room for `count`: which inputs the kernel sees, in order; all of them at first */
	size_t chosen_count;
	long double *weights; /* room for `count`: of the chosen ones; given / sum of given at first */
	long double of_model; /* weight of the model itself, 0 at first */
	size_t trim;          /* for kernels that drop the most extreme values: how many on each side */
};

/* All chosen inputs count alike. */
void prepare_equal(struct preparation *preparation);

/* One tensor's stretch in every chosen input. */
struct stretch {
	enum dtype dtype; /* of the tensor, and of the output */
	enum dtype given; /* of the inputs' elements: the same, or F32 (source.h) */
	const uint8_t *const *inputs;
	const double *weights;
	const long double *exact; /* the same */
	size_t inputs_count;
	size_t trim;
	size_t count;    /* elements */
	uint8_t *output; /* room for them */
};

kernel_fn kernel_mean;    /* sum of weights x inputs */
kernel_fn kernel_trimmed; /* mean of what is left between the `trim` least and the `trim` greatest */
kernel_fn kernel_nearest; /* mean of the count - 2 trim values that lie nearest to the median */

/* For qsort, of doubles. */
int ascending(const void *a, const void *b);

#endif
