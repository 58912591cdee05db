#include "server/aggregate/element_step.h"

#include "common/json.h"
#include "common/tensors.h"
#include "common/text.h"

#include <fnmatch.h>
#include <string.h>

struct stepping {
	const struct server_step *step;
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

static size_t states_of(const struct server_step *step)
{
	size_t count = 0;

	while (count < STEP_STATES_LIMIT && step->states[count].prefix)
		count++;
	return count;
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
			char *name = text_new("%s%s", work->step->states[j].prefix, tensor->name);

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

static int load_state(
	struct stepping *work, const struct tensor *tensor, size_t which, uint64_t at, struct rounds_error *error)
{
	const struct step_state *state = &work->step->states[which];
	double begin = state->begins_at_tau_squared ? work->rates.tau * work->rates.tau : 0;
	struct chunk *chunk = work->chunk;
	scoped(text_free) char *name = text_new("%s%s", state->prefix, tensor->name);

	if (!name)
		return error_no_memory(error);
	if (work->state.tensors)
		return load(&work->state, name, tensor, at, chunk->count, chunk->states[which], error);
	for (size_t i = 0; i < chunk->count; i++)
		chunk->states[which][i] = begin;
	return 0;
}

static int save_state(
	struct stepping *work, const struct tensor *tensor, size_t which, uint64_t at, struct rounds_error *error)
{
	scoped(text_free) char *name = text_new("%s%s", work->step->states[which].prefix, tensor->name);

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

	chunk->count = tensor->count - at < STEP_CHUNK ? (size_t)(tensor->count - at) : STEP_CHUNK;
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
		(server_step_has_state(work->step) && plan_state(work, error)))
		return -1;
	for (size_t i = 0; i < model->count; i++)
		for (uint64_t at = 0; at < model->list[i].count; at += STEP_CHUNK)
			if (do_chunk(work, &model->list[i], at, error))
				return -1;
	return 0;
}

int step_elements(const struct server_step *step, const json_t *params, const struct server_step_files *files,
	struct rounds_error *error)
{
	struct stepping work = {
		.step = step,
		.mean_only = json_object_get(params, "mean_only"),
		.rates = { json_number_or(params, "rate", 1), json_number_or(params, "beta1", 0.9),
			json_number_or(params, "beta2", 0.99), json_number_or(params, "tau", 1e-3),
			json_number_or(params, "share", 1), files->second_scale },
		.output = files->output,
		.state_output = files->state_output,
	};
	int failed;

	if (step->second && !files->second)
		return error_set(error, ERROR_INTERNAL, "the step \"%s\" needs a second aggregate", step->name);
	work.chunk = malloc(sizeof(*work.chunk));
	work.bytes = malloc(STEP_CHUNK * sizeof(double));
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
