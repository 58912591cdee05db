/*
 * Steps from sums over all sites to the next model, for workflows whose updates are sums and not models: k-means and Cox
 * regression. Models and sums are float64 tensors, as client/trainers/kmeans.h and cox.h tell.
 */
#include "server/aggregate/server_steps.h"

#include "common/json.h"
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
	double ridge;
};

/* A singular Hessian: what is left of a covariate's information beside the others'. */
static const double NOTHING_LEFT = 1e-11;

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

/* Cells of time that every site tells, and the sums over their risk sets. */
struct risk_sets {
	uint64_t d, bins;
	const double *risk, *x, *xx, *events_x;
	const double *edges; /* how many sites tell that a cell begins here; NULL: they do not say, all tell all */
	double sites;
	double *events; /* of a merged cell, where it begins */
};

static bool begins(const struct risk_sets *sets, uint64_t t)
{
	return !sets->edges || sets->edges[t] == sets->sites;
}

/* Of the whole, at the model's beta. */
struct derivatives {
	double *gradient, *hessian, likelihood;
};

static void derive(const struct risk_sets *sets, const double *beta, struct derivatives *found)
{
	uint64_t d = sets->d;

	for (uint64_t i = 0; i < d; i++) {
		found->gradient[i] = sets->events_x[i];
		found->likelihood += beta[i] * sets->events_x[i];
	}
	for (uint64_t t = 0; t < sets->bins; t++) {
		double risk = sets->risk[t], events = sets->events[t];

		if (!(events > 0 && risk > 0))
			continue;
		found->likelihood -= events * log(risk);
		for (uint64_t i = 0; i < d; i++) {
			double mean = sets->x[t * d + i] / risk;

			found->gradient[i] -= events * mean;
			for (uint64_t j = 0; j < d; j++)
				found->hessian[i * d + j] += events * (sets->xx[(t * d + i) * d + j] / risk -
									      mean * sets->x[t * d + j] / risk);
		}
	}
}

static void penalise(uint64_t d, double ridge, const double *beta, struct derivatives *found)
{
	for (uint64_t i = 0; ridge > 0 && i < d; i++) {
		found->likelihood -= ridge * beta[i] * beta[i] / 2;
		found->gradient[i] -= ridge * beta[i];
		found->hessian[i * d + i] += ridge;
	}
}

static int refuse(const struct stepping *work, uint64_t covariate, struct rounds_error *error)
{
	const char *text = json_string_value(json_object_get(work->model.tensors->metadata, "rounds.covariates"));
	json_auto_t *names = text ? json_loads(text, 0, NULL) : NULL;
	const char *name = json_string_value(json_array_get(names, covariate));

	return error_set(error, ERROR_UNPROCESSABLE,
		"the Hessian is singular: covariate %s%.100s%s does not vary among those at risk, or is a sum of others, or there "
		"are no events; leave it out, or set a ridge",
		name ? "\"" : "", name ? name : "(one)", name ? "\"" : "");
}

/* Solves for the step and, with the identity beside it, for the variances. */
static int solve(const struct stepping *work, uint64_t d, double *hessian, double *right, struct rounds_error *error)
{
	int n = (int)d, columns = n + 1, info = 0;
	scoped(free) void *room = calloc(d, sizeof(double));
	double *before = room;

	if (!room)
		return error_no_memory(error);
	for (uint64_t i = 0; i < d; i++)
		before[i] = hessian[i * d + i];
	dposv_("L", &n, &columns, hessian, &n, right, &n, &info);
	if (info > 0)
		return refuse(work, (uint64_t)info - 1, error);
	/* The factor's diagonal, squared, is what the covariates before leave of one's information. */
	for (uint64_t i = 0; i < d; i++)
		if (hessian[i * d + i] * hessian[i * d + i] < NOTHING_LEFT * before[i])
			return refuse(work, i, error);
	return 0;
}

/* The model's values of a tensor that models of earlier versions do not have. */
static double *find_if_there(struct stepping *work, const char *name, uint64_t count)
{
	return tensors_find(work->model.tensors, name) ? found(&work->model, work->bytes, name, count, NULL) : NULL;
}

static int read_sets(struct stepping *work, struct risk_sets *sets, struct rounds_error *error)
{
	uint64_t d = sets->d, bins = sets->bins;
	uint8_t *bytes = (uint8_t *)(uintptr_t)work->sums.view.bytes;
	const double *events = found(&work->sums, bytes, "events", bins, error), *sites = NULL;
	uint64_t first = 0;

	sets->risk = found(&work->sums, bytes, "risk", bins, error);
	sets->x = found(&work->sums, bytes, "risk_x", bins * d, error);
	sets->xx = found(&work->sums, bytes, "risk_xx", bins * d * d, error);
	sets->events_x = found(&work->sums, bytes, "events_x", d, error);
	if (tensors_find(work->sums.tensors, "edges")) {
		sets->edges = found(&work->sums, bytes, "edges", bins, error);
		sites = found(&work->sums, bytes, "sites", 1, error);
		if (!sets->edges || !sites)
			return -1;
		sets->sites = *sites;
	}
	if (!events || !sets->risk || !sets->x || !sets->xx || !sets->events_x)
		return -1;
	for (uint64_t t = 0; t < bins; t++) {
		first = begins(sets, t) ? t : first;
		sets->events[first] += events[t];
	}
	return 0;
}

/* How many rows have a bound in place of an extreme value, by covariate; sites of earlier versions do not say. */
static int tell_bounded(struct stepping *work, uint64_t d, struct rounds_error *error)
{
	double *bounded = find_if_there(work, "bounded", d);
	uint8_t *bytes = (uint8_t *)(uintptr_t)work->sums.view.bytes;
	const double *told;

	if (!bounded || !tensors_find(work->sums.tensors, "bounded"))
		return 0;
	told = found(&work->sums, bytes, "bounded", d, error);
	if (!told)
		return -1;
	memcpy(bounded, told, d * sizeof(double));
	return 0;
}

/* Beta after the step, and what is said of it. */
static void tell(struct stepping *work, uint64_t d, double *beta, double *errors, const double *solved)
{
	double *ratio = find_if_there(work, "hazard_ratio", d), *p = find_if_there(work, "p_value", d);

	for (uint64_t i = 0; i < d; i++) {
		beta[i] += solved[i];
		errors[i] = sqrt(fmax(solved[d * (i + 1) + i], 0));
		if (ratio)
			ratio[i] = exp(beta[i]);
		if (p)
			p[i] = erfc(fabs(beta[i]) / errors[i] / M_SQRT2);
	}
}

static int newton(struct stepping *work, struct rounds_error *error)
{
	struct risk_sets sets = { .d = extent(&work->model, "beta", 0),
		.bins = extent(&work->model, "baseline_hazard", 0) };
	uint64_t d = sets.d, bins = sets.bins;
	double *beta = found(&work->model, work->bytes, "beta", d, error);
	double *errors = found(&work->model, work->bytes, "standard_error", d, error);
	double *hazard = found(&work->model, work->bytes, "baseline_hazard", bins, error);
	double *likelihood = found(&work->model, work->bytes, "log_likelihood", 1, error);
	double *grid = find_if_there(work, "grid", bins);
	scoped(free) void *room = calloc(d * d + d * (d + 1) + bins + 1, sizeof(double));
	struct derivatives derivatives = { .hessian = room };

	if (!beta || !errors || !hazard || !likelihood)
		return -1;
	if (!room)
		return error_no_memory(error);
	derivatives.gradient = derivatives.hessian + d * d;
	sets.events = derivatives.gradient + d * (d + 1);
	if (read_sets(work, &sets, error))
		return -1;
	derive(&sets, beta, &derivatives);
	penalise(d, work->ridge, beta, &derivatives);
	for (uint64_t i = 0; i < d; i++)
		derivatives.gradient[d * (i + 1) + i] = 1;
	if (tell_bounded(work, d, error))
		return -1;
	if (solve(work, d, derivatives.hessian, derivatives.gradient, error))
		return -1;
	*likelihood = derivatives.likelihood;
	for (uint64_t t = 0; t < bins; t++) {
		hazard[t] = sets.risk[t] > 0 ? sets.events[t] / sets.risk[t] : 0;
		if (grid)
			grid[t] = begins(&sets, t);
	}
	tell(work, d, beta, errors, derivatives.gradient);
	return 0;
}

static int step(const struct view *model, const struct view *sums, const struct sink *output, double ridge,
	int (*change)(struct stepping *work, struct rounds_error *error), struct rounds_error *error)
{
	struct stepping work = { .ridge = ridge };
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

/* A center without rows stays where it is. */
static int kmeans_step(const struct server_step *self, const json_t *params, const struct server_step_files *files,
	struct rounds_error *error)
{
	(void)self;
	(void)params;
	return step(files->model, files->aggregate, files->output, 0, divide, error);
}

/*
 * A Newton step of Breslow's partial likelihood, less ridge / 2 * beta^2: beta + H^-1 g, on the cells of time that every site
 * tells. ERROR_UNPROCESSABLE names the covariate if H is not positive definite. Params: {"ridge"}.
 */
static int cox_step(const struct server_step *self, const json_t *params, const struct server_step_files *files,
	struct rounds_error *error)
{
	double ridge = json_number_or(params, "ridge", 0);

	(void)self;
	return step(files->model, files->aggregate, files->output, ridge, newton, error);
}

const struct server_step server_step_kmeans = { .name = "kmeans", .make = kmeans_step };
const struct server_step server_step_cox = { .name = "cox", .make = cox_step };
