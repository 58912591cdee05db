#include "server/aggregate/sum_steps.h"

#include "common/tensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* LAPACK, from OpenBLAS: solves A X = B for a positive definite A (column by column), overwriting both. */
extern void dposv_(const char *uplo, const int *n, const int *nrhs, double *a, const int *lda, double *b,
	const int *ldb, int *info);

struct stepping {
	struct tensor_file model, sums;
	uint8_t *bytes; /* the model's, to be changed and written */
};

/* The changed model's values of a tensor, or what the sums hold of it. */
static double *found(
	const struct tensor_file *file, uint8_t *bytes, const char *name, uint64_t count, struct rounds_error *error)
{
	const struct tensor *tensor = tensors_find(file->tensors, name);

	if (tensor && tensor->dtype == DTYPE_F64 && tensor->count == count)
		return (double *)(void *)(bytes + tensor->offset);
	error_set(error, ERROR_UNPROCESSABLE, "\"%s\" is not there in F64 with %llu elements", name,
		(unsigned long long)count);
	return NULL;
}

static uint64_t extent(const struct tensor_file *file, const char *name, size_t dimension)
{
	const struct tensor *tensor = tensors_find(file->tensors, name);

	return tensor && dimension < tensor->rank ? tensor->shape[dimension] : 0;
}

static int divide(struct stepping *work, struct rounds_error *error)
{
	uint64_t k = extent(&work->model, "centers", 0), width = extent(&work->model, "centers", 1);
	uint8_t *given = (uint8_t *)(uintptr_t)work->sums.view.bytes;
	double *centers = found(&work->model, work->bytes, "centers", k * width, error);
	double *counts = found(&work->model, work->bytes, "counts", k, error);
	const double *sums = found(&work->sums, given, "centers", k * width, error);
	const double *rows = found(&work->sums, given, "counts", k, error);

	if (!centers || !counts || !sums || !rows)
		return -1;
	for (uint64_t i = 0; i < k; i++) {
		counts[i] = rows[i];
		for (uint64_t j = 0; rows[i] > 0 && j < width; j++)
			centers[i * width + j] = sums[i * width + j] / rows[i];
	}
	return 0;
}

/* Gradient and Hessian of the whole, and the log likelihood, at the model's beta. */
static void derive(uint64_t d, uint64_t bins, const double *const *sums, const double *beta, double *gradient,
	double *hessian, double *likelihood)
{
	const double *risk = sums[0], *risk_x = sums[1], *risk_xx = sums[2], *events = sums[3], *events_x = sums[4];

	*likelihood = 0;
	for (uint64_t i = 0; i < d; i++) {
		gradient[i] = events_x[i];
		*likelihood += beta[i] * events_x[i];
	}
	for (uint64_t t = 0; t < bins; t++) {
		if (!(events[t] > 0 && risk[t] > 0))
			continue;
		*likelihood -= events[t] * log(risk[t]);
		for (uint64_t i = 0; i < d; i++) {
			double mean = risk_x[t * d + i] / risk[t];

			gradient[i] -= events[t] * mean;
			for (uint64_t j = 0; j < d; j++)
				hessian[i * d + j] += events[t] * (risk_xx[(t * d + i) * d + j] / risk[t] -
									  mean * risk_x[t * d + j] / risk[t]);
		}
	}
}

/* Solves for the step and, with the identity beside it, for the variances. */
static int solve(uint64_t d, double *hessian, double *right, struct rounds_error *error)
{
	int n = (int)d, columns = n + 1, info = 0;

	dposv_("L", &n, &columns, hessian, &n, right, &n, &info);
	if (info == 0)
		return 0;
	return error_set(error, ERROR_UNPROCESSABLE,
		"the Hessian is singular: a covariate does not vary among those at risk, or is a sum of others, or there are no "
		"events");
}

static int newton(struct stepping *work, struct rounds_error *error)
{
	static const char *const names[] = { "risk", "risk_x", "risk_xx", "events", "events_x" };
	uint64_t d = extent(&work->model, "beta", 0), bins = extent(&work->model, "baseline_hazard", 0);
	const uint64_t counts[] = { bins, bins * d, bins * d * d, bins, d };
	double *beta = found(&work->model, work->bytes, "beta", d, error);
	double *errors = found(&work->model, work->bytes, "standard_error", d, error);
	double *hazard = found(&work->model, work->bytes, "baseline_hazard", bins, error);
	double *likelihood = found(&work->model, work->bytes, "log_likelihood", 1, error);
	const double *sums[5];
	scoped(free) void *room = calloc(d * d + d * (d + 1) + 1, sizeof(double));
	double *hessian = room, *right = hessian + d * d;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!(sums[i] = found(
			      &work->sums, (uint8_t *)(uintptr_t)work->sums.view.bytes, names[i], counts[i], error)))
			return -1;
	if (!beta || !errors || !hazard || !likelihood)
		return -1;
	if (!room)
		return error_no_memory(error);
	derive(d, bins, sums, beta, right, hessian, likelihood);
	for (uint64_t i = 0; i < d; i++)
		right[d * (i + 1) + i] = 1;
	if (solve(d, hessian, right, error))
		return -1;
	for (uint64_t t = 0; t < bins; t++)
		hazard[t] = sums[0][t] > 0 ? sums[3][t] / sums[0][t] : 0;
	for (uint64_t i = 0; i < d; i++) {
		beta[i] += right[i];
		errors[i] = sqrt(fmax(right[d * (i + 1) + i], 0));
	}
	return 0;
}

static int step(const struct view *model, const struct view *sums, const struct sink *output,
	int (*change)(struct stepping *work, struct rounds_error *error), struct rounds_error *error)
{
	struct stepping work = { 0 };
	int failed = tensor_file_of(model, &work.model, error) || tensor_file_of(sums, &work.sums, error);

	if (!failed && !(work.bytes = malloc(model->size + 1)))
		failed = error_no_memory(error);
	if (!failed) {
		memcpy(work.bytes, model->bytes, model->size);
		failed = change(&work, error) || sink_put(output, work.bytes, model->size, 0, error);
	}
	tensor_file_close(work.model);
	tensor_file_close(work.sums);
	free(work.bytes);
	return failed ? -1 : 0;
}

int kmeans_step(
	const struct view *model, const struct view *sums, const struct sink *output, struct rounds_error *error)
{
	return step(model, sums, output, divide, error);
}

int cox_step(const struct view *model, const struct view *sums, const struct sink *output, struct rounds_error *error)
{
	return step(model, sums, output, newton, error);
}
