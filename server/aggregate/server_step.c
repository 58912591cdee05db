#include "server/aggregate/server_step.h"

#include "common/json.h"
#include "common/tensors.h"
#include "common/text.h"
#include "server/aggregate/sum_steps.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 16384, STATES_LIMIT = 2 };

struct rates {
	double rate, beta1, beta2, tau, share, scale;
};

/* One chunk of one tensor: x and its states are changed in place. */
struct chunk {
	size_t count;
	double x[CHUNK], y[CHUNK], second[CHUNK], states[STATES_LIMIT][CHUNK];
};

typedef void step_kernel_fn(struct chunk *chunk, const struct rates *rates);

static void step_sgd(struct chunk *chunk, const struct rates *rates)
{
	for (size_t i = 0; i < chunk->count; i++)
		chunk->x[i] += rates->rate * (chunk->y[i] - chunk->x[i]);
}

static void step_momentum(struct chunk *chunk, const struct rates *rates)
{
	double *m = chunk->states[0];

	for (size_t i = 0; i < chunk->count; i++) {
		m[i] = rates->beta1 * m[i] + (chunk->y[i] - chunk->x[i]);
		chunk->x[i] += rates->rate * m[i];
	}
}

/* The three adaptive ones differ in how v remembers. */
typedef double second_moment_fn(double v, double square, const struct rates *rates);

static double adagrad(double v, double square, const struct rates *rates)
{
	(void)rates;
	return v + square;
}

static double yogi(double v, double square, const struct rates *rates)
{
	double sign = v > square ? 1 : v < square ? -1 : 0;

	return v - (1 - rates->beta2) * square * sign;
}

static double adam(double v, double square, const struct rates *rates)
{
	return rates->beta2 * v + (1 - rates->beta2) * square;
}

static void adapt(struct chunk *chunk, const struct rates *rates, second_moment_fn *remember)
{
	double *m = chunk->states[0], *v = chunk->states[1];

	for (size_t i = 0; i < chunk->count; i++) {
		double change = chunk->y[i] - chunk->x[i];

		m[i] = rates->beta1 * m[i] + (1 - rates->beta1) * change;
		v[i] = remember(v[i], change * change, rates);
		chunk->x[i] += rates->rate * m[i] / (sqrt(v[i]) + rates->tau);
	}
}

static void step_adagrad(struct chunk *chunk, const struct rates *rates)
{
	adapt(chunk, rates, adagrad);
}

static void step_yogi(struct chunk *chunk, const struct rates *rates)
{
	adapt(chunk, rates, yogi);
}

static void step_adam(struct chunk *chunk, const struct rates *rates)
{
	adapt(chunk, rates, adam);
}

static void step_scaffold(struct chunk *chunk, const struct rates *rates)
{
	double *c = chunk->states[0];

	for (size_t i = 0; i < chunk->count; i++)
		c[i] += rates->share * (rates->scale * (chunk->x[i] - chunk->second[i]) - c[i]);
	step_sgd(chunk, rates);
}

static const struct step {
	const char *name;
	step_kernel_fn *kernel;
	const char *states[STATES_LIMIT]; /* what is put before a tensor's name */
} steps[] = {
	{ "sgd", step_sgd, { NULL } },
	{ "momentum", step_momentum, { "m/" } },
	{ "adagrad", step_adagrad, { "m/", "v/" } },
	{ "yogi", step_yogi, { "m/", "v/" } },
	{ "adam", step_adam, { "m/", "v/" } },
	{ "scaffold", step_scaffold, { "" } },
};

static const struct step *step_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (!strcmp(steps[i].name, name))
			return &steps[i];
	return NULL;
}

bool server_step_has_state(const char *name)
{
	const struct step *step = step_find(name);

	return step && step->states[0];
}

struct stepping {
	const struct step *step;
	const json_t *mean_only;
	struct rates rates;
	struct tensor_file model, aggregate, second, state;
	struct tensors *state_plan; /* where each tensor lies in the new state */
	const struct sink *output, *state_output;
	struct chunk *chunk;
	uint8_t *bytes;
};

/* Whether the step concerns this tensor. */
static bool takes_step(const struct stepping *work, const struct tensor *tensor)
{
	size_t i;
	json_t *pattern;

	json_array_foreach (work->mean_only, i, pattern)
		if (!fnmatch(json_string_value(pattern), tensor->name, 0))
			return false;
	return dtype_is_float(tensor->dtype);
}

static size_t states_of(const struct step *step)
{
	return !step->states[0] ? 0 : !step->states[1] ? 1 : 2;
}

/* The header of the new state: each state of each tensor, in float32 unless the model is in float64. */
static int plan_state(struct stepping *work, struct rounds_error *error)
{
	const struct tensors *model = work->model.tensors;
	size_t count = 0, states = states_of(work->step), size;
	struct tensor_plan *plan = calloc(model->count * states + 1, sizeof(*plan));
	uint8_t *header = NULL;
	uint64_t bytes = 0;
	int failed = plan ? 0 : error_no_memory(error);

	for (size_t i = 0; !failed && i < model->count; i++) {
		const struct tensor *tensor = &model->list[i];
		enum dtype dtype = tensor->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;

		for (size_t j = 0; takes_step(work, tensor) && j < states; j++) {
			char *name = text_new("%s%s", work->step->states[j], tensor->name);

			if (!name)
				failed = error_no_memory(error);
			plan[count++] = (struct tensor_plan){ name, dtype, tensor->rank, tensor->shape };
			bytes += tensor->count * dtype_size(dtype);
		}
	}
	if (!failed)
		failed = tensors_header(plan, count, NULL, &header, &size, error);
	if (!failed)
		failed = sink_put(work->state_output, header, size, 0, error) ||
			 tensors_parse(header, size, size + bytes, &work->state_plan, error);
	for (size_t i = 0; i < count; i++)
		free((void *)(uintptr_t)plan[i].name);
	free(plan);
	free(header);
	return failed ? -1 : 0;
}

static int load(const struct tensor_file *file, const char *name, const struct tensor *like, uint64_t at,
	size_t count, double *values, struct rounds_error *error)
{
	const struct tensor *tensor = tensors_find(file->tensors, name);

	if (!tensor || tensor->count != like->count)
		return error_set(
			error, ERROR_UNPROCESSABLE, "the step's files do not fit the model: tensor \"%.100s\"", name);
	at = tensor->offset + at * dtype_size(tensor->dtype);
	if (view_want(&file->view, at, at + count * dtype_size(tensor->dtype), error))
		return -1;
	dtype_load(tensor->dtype, file->view.bytes + at, count, values);
	return 0;
}

static int save(struct stepping *work, const struct sink *sink, const struct tensor *tensor, uint64_t at,
	size_t count, const double *values, struct rounds_error *error)
{
	size_t width = dtype_size(tensor->dtype);

	dtype_store(tensor->dtype, values, count, work->bytes);
	return sink_put(sink, work->bytes, count * width, tensor->offset + at * width, error);
}

/* Without a state of the step before: v begins at tau squared, everything else at zero. */
static int load_state(
	struct stepping *work, const struct tensor *tensor, size_t which, uint64_t at, struct rounds_error *error)
{
	struct chunk *chunk = work->chunk;
	scoped(text_free) char *name = text_new("%s%s", work->step->states[which], tensor->name);

	if (!name)
		return error_no_memory(error);
	if (work->state.tensors)
		return load(&work->state, name, tensor, at, chunk->count, chunk->states[which], error);
	for (size_t i = 0; i < chunk->count; i++)
		chunk->states[which][i] = which == 1 ? work->rates.tau * work->rates.tau : 0;
	return 0;
}

static int save_state(
	struct stepping *work, const struct tensor *tensor, size_t which, uint64_t at, struct rounds_error *error)
{
	scoped(text_free) char *name = text_new("%s%s", work->step->states[which], tensor->name);

	if (!name)
		return error_no_memory(error);
	return save(work, work->state_output, tensors_find(work->state_plan, name), at, work->chunk->count,
		work->chunk->states[which], error);
}

static int do_chunk(struct stepping *work, const struct tensor *tensor, uint64_t at, struct rounds_error *error)
{
	struct chunk *chunk = work->chunk;
	size_t states = states_of(work->step);
	bool steps_here = takes_step(work, tensor);

	chunk->count = tensor->count - at < CHUNK ? (size_t)(tensor->count - at) : CHUNK;
	if (load(&work->aggregate, tensor->name, tensor, at, chunk->count, chunk->y, error))
		return -1;
	if (!steps_here)
		return save(work, work->output, tensor, at, chunk->count, chunk->y, error);
	if (load(&work->model, tensor->name, tensor, at, chunk->count, chunk->x, error) ||
		(work->second.tensors &&
			load(&work->second, tensor->name, tensor, at, chunk->count, chunk->second, error)))
		return -1;
	for (size_t i = 0; i < states; i++)
		if (load_state(work, tensor, i, at, error))
			return -1;
	work->step->kernel(chunk, &work->rates);
	for (size_t i = 0; i < states; i++)
		if (save_state(work, tensor, i, at, error))
			return -1;
	return save(work, work->output, tensor, at, chunk->count, chunk->x, error);
}

static int do_step(struct stepping *work, const struct server_step_files *files, struct rounds_error *error)
{
	const struct tensors *model;

	if (tensor_file_of(files->model, &work->model, error) ||
		tensor_file_of(files->aggregate, &work->aggregate, error) ||
		(files->second && tensor_file_of(files->second, &work->second, error)) ||
		(files->state && tensor_file_of(files->state, &work->state, error)))
		return -1;
	model = work->model.tensors;
	if (sink_put(work->output, work->model.view.bytes, (size_t)model->header_size, 0, error) ||
		(work->step->states[0] && plan_state(work, error)))
		return -1;
	for (size_t i = 0; i < model->count; i++)
		for (uint64_t at = 0; at < model->list[i].count; at += CHUNK)
			if (do_chunk(work, &model->list[i], at, error))
				return -1;
	return 0;
}

int server_step(const json_t *step, const struct server_step_files *files, struct rounds_error *error)
{
	struct stepping work = {
		.step = step_find(json_text_or(step, "name", "")),
		.mean_only = json_object_get(step, "mean_only"),
		.rates = { json_number_or(step, "rate", 1), json_number_or(step, "beta1", 0.9),
			json_number_or(step, "beta2", 0.99), json_number_or(step, "tau", 1e-3),
			json_number_or(step, "share", 1), files->second_scale },
		.output = files->output,
		.state_output = files->state_output,
	};
	int failed;

	if (!strcmp(json_text_or(step, "name", ""), "kmeans"))
		return kmeans_step(files->model, files->aggregate, files->output, error);
	if (!strcmp(json_text_or(step, "name", ""), "cox"))
		return cox_step(
			files->model, files->aggregate, files->output, json_number_or(step, "ridge", 0), error);
	if (!work.step)
		return error_set(
			error, ERROR_INTERNAL, "there is no server step \"%s\"", json_text_or(step, "name", ""));
	work.chunk = malloc(sizeof(*work.chunk));
	work.bytes = malloc(CHUNK * sizeof(double));
	failed = work.chunk && work.bytes ? do_step(&work, files, error) : error_no_memory(error);
	tensor_file_close(work.model);
	tensor_file_close(work.aggregate);
	tensor_file_close(work.second);
	tensor_file_close(work.state);
	tensors_free(work.state_plan);
	free(work.chunk);
	free(work.bytes);
	return failed;
}
