/*
 * How the inputs lie to one another and to the result. Distances between inputs come from the Gram matrix G of their differences
 * from the model: |a - b|^2 = Gaa + Gbb - 2 Gab. It has count x count entries, in double.
 */
#ifndef ROUNDS_SERVER_AGGREGATE_GRAM_H
#define ROUNDS_SERVER_AGGREGATE_GRAM_H

#include "server/aggregate/kernels.h"

/* By the prepared Gram matrix. */
double gram_norm(const struct preparation *preparation, size_t input);
double gram_distance(const struct preparation *preparation, size_t a, size_t b);

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

/* Three sums for each of all inputs over one stretch: |input - out|^2, (input - model)(out - model), |input - model|^2; last the
 * stretch's |out - model|^2. `sums` has 3 x count + 1 places. */
void outlier_sums(const struct stretch *stretch, const uint8_t *const *inputs, size_t count, const uint8_t *model,
	double *sums);

#endif
