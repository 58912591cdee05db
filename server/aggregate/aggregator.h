/*
 * What an aggregator is. Before the blocks are read it looks at the inputs as a whole and says which of them count and how
 * much (`prepare`); then its kernel makes each block of the result. Most are linear: a mean whose weights prepare found.
 */
#ifndef ROUNDS_SERVER_AGGREGATE_AGGREGATOR_H
#define ROUNDS_SERVER_AGGREGATE_AGGREGATOR_H

#include "server/aggregate/aggregate.h"

/* The inputs as a whole. */
struct preparation {
	const json_t *params;
	size_t count;        /* inputs */
	const double *given; /* their weights */
	const double *gram;  /* count x count inner products of (input - model); NULL unless the aggregator asked */
	/* To be filled in: */
	size_t *chosen; /* room for `count`: which inputs the kernel sees, in order; all of them at first */
	size_t chosen_count;
	long double *weights; /* room for `count`: of the chosen ones; given / sum of given at first */
	long double of_model; /* weight of the model itself, 0 at first */
	size_t trim;          /* for kernels that drop the most extreme values: how many on each side */
};

/* One tensor's stretch in every chosen input. */
struct stretch {
	enum dtype dtype;
	const uint8_t *const *inputs;
	const double *weights;
	const long double *exact; /* the same */
	size_t inputs_count;
	size_t trim;
	size_t count;    /* elements */
	uint8_t *output; /* room for them */
};

typedef int kernel_fn(const struct stretch *stretch); /* -1 without memory */

struct aggregator {
	const char *name; /* what a job, a plan and a manifest call it */
	const char *summary;
	bool needs_gram;
	int (*prepare)(struct preparation *preparation, struct rounds_error *error); /* NULL: a weighted mean */
	kernel_fn *kernel;
};

kernel_fn kernel_mean;    /* sum of weights x inputs */
kernel_fn kernel_trimmed; /* mean of what is left between the `trim` least and the `trim` greatest */
kernel_fn kernel_nearest; /* mean of the count - 2 trim values that lie nearest to the median */

/* prepare.c */
int prepare_equal(struct preparation *preparation, struct rounds_error *error);
int prepare_sum(struct preparation *preparation, struct rounds_error *error);
int prepare_given(struct preparation *preparation, struct rounds_error *error);
int prepare_median(struct preparation *preparation, struct rounds_error *error);
int prepare_trimmed(struct preparation *preparation, struct rounds_error *error);
int prepare_clipped(struct preparation *preparation, struct rounds_error *error);
int prepare_geometric(struct preparation *preparation, struct rounds_error *error);
int prepare_krum(struct preparation *preparation, struct rounds_error *error);
int prepare_multi_krum(struct preparation *preparation, struct rounds_error *error);
int prepare_bulyan(struct preparation *preparation, struct rounds_error *error);

/* The inner products of one block of inputs, in float by OpenBLAS, added to `gram` in double (symmetric, all of it). */
struct gram_work {
	size_t count;
	float *rows;     /* count x GRAM_COLUMNS: differences from the model */
	float *products; /* count x count */
};
#define GRAM_COLUMNS 4096
must_check int gram_work_new(size_t count, struct gram_work *work, struct rounds_error *error);
void gram_work_free(struct gram_work work);
void gram_add(const struct gram_work *work, enum dtype dtype, const uint8_t *const *inputs, const uint8_t *model,
	size_t elements, double *gram);

/* Three sums for each input over one block: |input - out|^2, (input - model)(out - model), |input - model|^2; last the
 * block's |out - model|^2. `sums` has 3 x count + 1 places. */
void outlier_sums(enum dtype dtype, const uint8_t *const *inputs, size_t count, const uint8_t *model,
	const uint8_t *output, size_t elements, double *sums);

#endif
