/*
 * A round's manifest says what its model was made of and how, so that it can be made again:
 *
 *     {"version", "round", "method", "params", "step", "model_in", "control_in", "model", "control", "inputs", "previous",
 *      "metadata"}
 *
 * `metadata` says whose the model's __metadata__ is: that of "model_in", or "none". Manifests of earlier versions have none such:
 * it was the first input's.
 *
 * Inputs are {"site", "update", "weight", "claimed_weight"} in order of site, with "base" where each was trained from a model
 * of its own; `previous` is the digest of the manifest before.
 */
#include "server/engine/internal.h"

#include "common/artifact.h"
#include "common/json.h"
#include "server/aggregate/server_step.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* The file of a result that the round's model is made of. */
static const char *brought(const json_t *task, const json_t *round)
{
	return artifact_digest(
		json_object_get(task, "result_files"), json_text_or(json_object_get(round, "how"), "file", "update"));
}

/* The results that a workflow chose by itself, with the model that each was trained from. */
static int chosen_inputs(struct store_tx *tx, const json_t *job, const json_t *round, const json_t *results,
	json_t **inputs, struct rounds_error *error)
{
	json_auto_t *list = json_array();
	size_t i;
	json_t *result;

	json_array_foreach (results, i, result) {
		json_auto_t *task = NULL;

		if (task_find_input(tx, json_text_or(job, "id", ""), json_integer_or(result, "round", 0),
			    json_text_or(round, "kind", ""), json_text_or(result, "site", ""), &task, error))
			return -1;
		if (task)
			json_array_append_new(
				list, json_pack("{s:O, s:s?, s:s?, s:O, s:O}", "site", json_object_get(task, "site"),
					      "update", brought(task, round), "base",
					      artifact_digest(json_object_get(task, "files"), "model"), "weight",
					      json_object_get(result, "weight"), "claimed_weight",
					      json_object_get(task, "weight")));
	}
	*inputs = json_incref(list);
	return 0;
}

int round_inputs(
	struct store_tx *tx, const json_t *job, const json_t *round, json_t **inputs, struct rounds_error *error)
{
	const json_t *own = json_object_get(json_object_get(round, "how"), "weights");
	const json_t *results = json_object_get(json_object_get(round, "how"), "results");
	json_auto_t *tasks = NULL, *list = json_array();
	scoped(free) void *room = NULL;
	double *weights;
	size_t count, i;
	json_t *task;

	if (results)
		return chosen_inputs(tx, job, round, results, inputs, error);
	if (task_list_inputs(tx, json_text_or(job, "id", ""), json_integer_or(round, "number", 0),
		    json_text_or(round, "kind", ""), &tasks, error))
		return -1;
	count = json_array_size(tasks);
	room = weights = calloc(count + 1, sizeof(double));
	if (!room)
		return error_no_memory(error);
	json_array_foreach (tasks, i, task)
		weights[i] = json_number_or(own, json_text_or(task, "site", ""), json_number_or(task, "weight", 1));
	weights_cap(weights, count, json_number_or(json_object_get(job, "spec"), "max_weight_share", 1));
	json_array_foreach (tasks, i, task)
		json_array_append_new(list, json_pack("{s:O, s:s?, s:f, s:O}", "site", json_object_get(task, "site"),
						    "update", brought(task, round), "weight", weights[i],
						    "claimed_weight", json_object_get(task, "weight")));
	*inputs = json_incref(list);
	return 0;
}

json_t *manifest_draft(const json_t *round, json_t *inputs, const json_t *previous)
{
	const json_t *how = json_object_get(round, "how"), *step = json_object_get(how, "step");
	const json_t *before = json_object_get(previous, "manifest");

	return json_pack("{s:i, s:s, s:O, s:O, s:O*, s:O*, s:O*, s:O?, s:O*, s:O, s:O?}", "version", 1, "metadata",
		json_text_or(round, "model_in", NULL) ? "model_in" : "none", "round",
		json_object_get(round, "number"), "method", json_object_get(how, "method"), "params",
		json_object_get(how, "params"), "step", step, "skipped", json_object_get(how, "skipped"), "model_in",
		json_object_get(round, "model_in"), "control_in", step ? json_object_get(before, "control") : NULL,
		"inputs", inputs, "previous", json_object_get(previous, "manifest_digest"));
}

static const struct aggregator *aggregator_of(const json_t *manifest)
{
	return aggregator_find(json_text_or(manifest, "method", ""));
}

/* Each input is read once to see that it still has its digest; a few at a time. */
struct proof {
	struct engine *engine;
	const json_t *inputs;
	atomic_size_t next;
	pthread_mutex_t lock;
	bool failed;
	struct rounds_error *error;
};

static void *prove_some(void *argument)
{
	struct proof *proof = argument;
	size_t at;

	while ((at = atomic_fetch_add(&proof->next, 1)) < json_array_size(proof->inputs)) {
		const json_t *input = json_array_get(proof->inputs, at);
		struct rounds_error error = { 0 };
		struct digest digest;

		if (!digest_parse(json_text_or(input, "update", ""), &digest))
			error_set(&error, ERROR_INTERNAL, "an input has no digest");
		else if (!blob_verify(proof->engine->options.blobs, &digest, &error))
			continue;
		error_prefix(&error, "the update of %s", json_text_or(input, "site", ""));
		pthread_mutex_lock(&proof->lock);
		if (!proof->failed)
			*proof->error = error;
		proof->failed = true;
		pthread_mutex_unlock(&proof->lock);
	}
	return NULL;
}

static int prove_inputs(struct engine *engine, const json_t *inputs, struct rounds_error *error)
{
	struct proof proof = { .engine = engine, .inputs = inputs, .error = error };
	pthread_t other;
	bool has_other = false;

	pthread_mutex_init(&proof.lock, NULL);
	if (json_array_size(inputs) > 1 && engine->options.threads > 1)
		has_other = pthread_create(&other, NULL, prove_some, &proof) == 0;
	prove_some(&proof);
	if (has_other)
		pthread_join(other, NULL);
	pthread_mutex_destroy(&proof.lock);
	return proof.failed ? -1 : 0;
}

static void inputs_free(struct aggregate_input *inputs, size_t count)
{
	for (size_t i = 0; inputs && i < count; i++)
		view_release(inputs[i].base);
	for (size_t i = 0; inputs && i < count; i++)
		view_release(inputs[i].view);
	free(inputs);
}

void recomputed_free(struct recomputed *made)
{
	draft_free(made->aggregate);
	draft_free(made->second);
	draft_free(made->model);
	draft_free(made->control);
	free(made->outliers);
	*made = (struct recomputed){ 0 };
}

/* Holds a blob that the manifest names, proven; an empty view if it names none. */
static int hold(struct engine *engine, const json_t *manifest, const char *name, bool prove, struct view *view,
	struct rounds_error *error)
{
	const char *text = json_text_or(manifest, name, NULL);
	struct digest digest;

	if (!text || !digest_parse(text, &digest))
		return 0;
	if ((prove && blob_verify(engine->options.blobs, &digest, error)) ||
		blob_hold(engine->options.blobs, &digest, view, error))
		return error_prefix(error, "%s", name);
	return 0;
}

static int hold_inputs(
	struct engine *engine, const json_t *manifest, struct aggregate_input *inputs, struct rounds_error *error)
{
	size_t i;
	json_t *input;

	json_array_foreach (json_object_get(manifest, "inputs"), i, input) {
		inputs[i].site = json_text_or(input, "site", NULL);
		inputs[i].weight = json_number_or(input, "weight", 1);
		if (hold(engine, input, "update", false, &inputs[i].view, error) ||
			hold(engine, input, "base", true, &inputs[i].base, error))
			return -1;
	}
	return 0;
}

/* Some steps take another aggregate of the same inputs beside the first, by weights of their own. */
static int make_second(struct engine *engine, const json_t *manifest, struct aggregate_order order,
	struct aggregate_input *inputs, struct recomputed *made, struct rounds_error *error)
{
	const json_t *params = json_object_get(manifest, "step");
	const struct server_step *step = server_step_find(json_text_or(params, "name", ""));

	if (!step || !step->second)
		return 0;
	step->reweigh(params, inputs, order.count, &made->second_scale);
	order.aggregator = step->second;
	order.outliers = NULL;
	return draft_new(engine->options.blobs, &made->second, error) ||
			       aggregate(&order, draft_sink(made->second), error)
		       ? -1
		       : 0;
}

static int step_on(struct engine *engine, const json_t *manifest, const struct view *model, struct recomputed *made,
	struct rounds_error *error)
{
	const json_t *step = json_object_get(manifest, "step");
	const struct server_step *row = server_step_find(json_text_or(step, "name", ""));
	bool has_state = row && server_step_has_state(row);
	scoped(view_release) struct view state = { 0 };
	scoped(view_release) struct view average = { 0 };
	scoped(view_release) struct view second = { 0 };
	struct server_step_files files = {
		.model = model, .aggregate = &average, .second_scale = made->second_scale
	};

	if (hold(engine, manifest, "control_in", true, &state, error) ||
		draft_view(made->aggregate, &average, error) ||
		(made->second && draft_view(made->second, &second, error)) ||
		draft_new(engine->options.blobs, &made->model, error) ||
		(has_state && draft_new(engine->options.blobs, &made->control, error)))
		return -1;
	files.second = made->second ? &second : NULL;
	files.state = state.bytes ? &state : NULL;
	files.output = draft_sink(made->model);
	files.state_output = has_state ? draft_sink(made->control) : NULL;
	return server_step(step, &files, error);
}

/* What the model to be made says of itself; *metadata stays NULL where the manifest does not say. */
static int inherit(struct engine *engine, const json_t *manifest, const struct view *model, json_t **metadata,
	struct rounds_error *error)
{
	const char *from = json_text_or(manifest, "metadata", NULL);
	scoped(view_release) struct view made = { 0 };
	scoped(tensor_file_close) struct tensor_file file = { 0 };

	if (!from)
		return 0;
	if (strcmp(from, "model_in") != 0)
		return (*metadata = json_object()) ? 0 : error_no_memory(error);
	/* Where the model that came in has gone, the one that was made says the same. */
	if ((!model->bytes && hold(engine, manifest, "model", true, &made, error)) ||
		tensor_file_of(model->bytes ? model : &made, &file, error))
		return -1;
	*metadata = json_deep_copy(file.tensors->metadata);
	if (!*metadata)
		*metadata = json_object();
	return *metadata ? 0 : error_no_memory(error);
}

static int make(struct engine *engine, const json_t *manifest, const json_t *metadata, const struct view *model,
	struct aggregate_input *inputs, struct recomputed *made, struct rounds_error *error)
{
	struct aggregate_order order = {
		.aggregator = aggregator_of(manifest),
		.params = json_object_get(manifest, "params"),
		.metadata = metadata,
		.inputs = inputs,
		.count = json_array_size(json_object_get(manifest, "inputs")),
		.threads = engine->options.threads,
		.outliers = made->outliers,
	};

	/* Where only the outliers look at the model, a manifest can be proven without it. */
	order.model = model->bytes && (aggregator_needs_model(order.aggregator) || made->outliers) ? model : NULL;
	if (draft_new(engine->options.blobs, &made->aggregate, error) ||
		aggregate(&order, draft_sink(made->aggregate), error))
		return -1;
	if (json_object_get(manifest, "step"))
		return make_second(engine, manifest, order, inputs, made, error) ||
				       step_on(engine, manifest, model, made, error)
			       ? -1
			       : 0;
	made->model = made->aggregate;
	made->aggregate = NULL;
	return 0;
}

bool manifest_needs_model(const json_t *manifest)
{
	const struct aggregator *aggregator = aggregator_of(manifest);

	return json_object_get(manifest, "step") || (aggregator && aggregator_needs_model(aggregator));
}

static int recompute(struct engine *engine, const json_t *manifest, struct aggregate_input *inputs,
	struct recomputed *made, struct rounds_error *error)
{
	bool needs_model = manifest_needs_model(manifest);
	scoped(view_release) struct view model = { 0 };
	json_auto_t *metadata = NULL;
	struct rounds_error fault;

	/* What is not needed may be gone. */
	if (hold(engine, manifest, "model_in", needs_model, &model, &fault) && needs_model) {
		*error = fault;
		return -1;
	}
	return inherit(engine, manifest, &model, &metadata, error) || hold_inputs(engine, manifest, inputs, error) ||
			       make(engine, manifest, metadata, &model, inputs, made, error)
		       ? -1
		       : 0;
}

int manifest_recompute(struct engine *engine, const json_t *manifest, bool outliers, struct recomputed *made,
	struct rounds_error *error)
{
	const struct aggregator *aggregator = aggregator_of(manifest);
	const json_t *list = json_object_get(manifest, "inputs");
	size_t count = json_array_size(list);
	struct aggregate_input *inputs;
	int failed;

	*made = (struct recomputed){ 0 };
	if (!aggregator)
		return error_set(error, ERROR_INTERNAL, "this server has no aggregator \"%s\"",
			json_text_or(manifest, "method", ""));
	outliers = outliers && !aggregator->is_unlike_model;
	made->outliers = outliers ? calloc(count + 1, sizeof(struct outlier)) : NULL;
	inputs = calloc(count + 1, sizeof(*inputs));
	failed = inputs && (!outliers || made->outliers)
			 ? prove_inputs(engine, list, error) || recompute(engine, manifest, inputs, made, error)
			 : error_no_memory(error);
	inputs_free(inputs, count);
	if (failed)
		recomputed_free(made);
	return failed ? -1 : 0;
}
