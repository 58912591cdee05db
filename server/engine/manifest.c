/*
 * A round's manifest says what its model was made of and how, so that it can be made again:
 *
 *     {"version", "round", "method", "params", "step", "model_in", "control_in", "model", "control", "inputs", "previous"}
 *
 * Inputs are {"site", "update", "weight", "claimed_weight"} in order of site, with "base" where each was trained from a model
 * of its own; `previous` is the digest of the manifest before.
 */
#include "server/engine/internal.h"

#include "common/json.h"
#include "server/aggregate/boosters.h"
#include "server/aggregate/server_step.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The results that a workflow chose by itself, with the model that each was trained from. */
static int chosen_inputs(struct store_tx *tx, const json_t *job, const json_t *round, const json_t *results,
	json_t **inputs, struct rounds_error *error)
{
	json_auto_t *list = json_array();
	size_t i, j;
	json_t *result, *task;

	json_array_foreach (results, i, result) {
		json_auto_t *tasks = NULL;

		if (task_list_done(tx, json_text_or(job, "id", ""), json_integer_or(result, "round", 0),
			    json_text_or(round, "kind", ""), &tasks, error))
			return -1;
		json_array_foreach (tasks, j, task)
			if (json_equal(json_object_get(task, "site"), json_object_get(result, "site")))
				json_array_append_new(list,
					json_pack("{s:O, s:O, s:O, s:O, s:O}", "site", json_object_get(task, "site"),
						"update", json_object_get(task, "update"), "base",
						json_object_get(task, "model"), "weight",
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
	if (task_list_done(tx, json_text_or(job, "id", ""), json_integer_or(round, "number", 0),
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
		json_array_append_new(list, json_pack("{s:O, s:O, s:f, s:O}", "site", json_object_get(task, "site"),
						    "update", json_object_get(task, "update"), "weight", weights[i],
						    "claimed_weight", json_object_get(task, "weight")));
	*inputs = json_incref(list);
	return 0;
}

json_t *manifest_draft(const json_t *round, json_t *inputs, const json_t *previous)
{
	const json_t *how = json_object_get(round, "how"), *step = json_object_get(how, "step");
	const json_t *before = json_object_get(previous, "manifest");

	return json_pack("{s:i, s:O, s:O, s:O*, s:O*, s:O*, s:O?, s:O*, s:O, s:O?}", "version", 1, "round",
		json_object_get(round, "number"), "method", json_object_get(how, "method"), "params",
		json_object_get(how, "params"), "step", step, "skipped", json_object_get(how, "skipped"), "model_in",
		json_object_get(round, "model_in"), "control_in", step ? json_object_get(before, "control") : NULL,
		"inputs", inputs, "previous", json_object_get(previous, "manifest_digest"));
}

static bool has_boosters(const json_t *manifest)
{
	return !strcmp(json_text_or(manifest, "method", ""), "boosters");
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
		free((void *)(uintptr_t)inputs[i].path);
	free(inputs);
}

void recomputed_free(struct recomputed *made)
{
	char *paths[] = { made->aggregate, made->second, made->model, made->control };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (paths[i])
			unlink(paths[i]);
		free(paths[i]);
	}
	free(made->outliers);
	*made = (struct recomputed){ 0 };
}

/* The path of a blob that the manifest names, proven; *path stays NULL if it names none. */
static int find_blob(struct engine *engine, const json_t *manifest, const char *name, bool prove, char **path,
	struct rounds_error *error)
{
	const char *text = json_text_or(manifest, name, NULL);
	struct digest digest;

	if (!text || !digest_parse(text, &digest))
		return 0;
	if (prove && blob_verify(engine->options.blobs, &digest, error))
		return error_prefix(error, "%s", name);
	*path = blob_path(engine->options.blobs, &digest);
	return *path ? 0 : error_no_memory(error);
}

/*
 * The manifest's inputs as files. Where they were trained from models of their own, these follow with the opposite weight,
 * and the round's model comes last: the sum is the model and what each result changed.
 */
static int list_inputs(struct engine *engine, const json_t *manifest, struct aggregate_input *inputs, size_t *count,
	struct rounds_error *error)
{
	const json_t *list = json_object_get(manifest, "inputs");
	size_t i;
	json_t *input;

	*count = 0;
	json_array_foreach (list, i, input) {
		inputs[*count].weight = json_number_or(input, "weight", 1);
		if (find_blob(engine, input, "update", false, (char **)(uintptr_t)&inputs[(*count)++].path, error))
			return -1;
	}
	if (strcmp(json_text_or(manifest, "method", ""), "combination") != 0)
		return 0;
	json_array_foreach (list, i, input) {
		inputs[*count].weight = -json_number_or(input, "weight", 1);
		if (find_blob(engine, input, "base", true, (char **)(uintptr_t)&inputs[(*count)++].path, error))
			return -1;
	}
	inputs[*count].weight = 1;
	return find_blob(engine, manifest, "model_in", true, (char **)(uintptr_t)&inputs[(*count)++].path, error);
}

/* SCAFFOLD's second mean: each update weighs the more, the shorter its site's steps were. */
static int second_mean(struct engine *engine, const json_t *manifest, struct aggregate_order order,
	struct aggregate_input *inputs, struct recomputed *made, struct rounds_error *error)
{
	const json_t *lengths = json_object_get(json_object_get(manifest, "step"), "lengths");
	double weights = 0, inverse = 0;
	size_t i;
	json_t *input;

	if (!lengths)
		return 0;
	json_array_foreach (json_object_get(manifest, "inputs"), i, input) {
		weights += inputs[i].weight;
		inputs[i].weight /= json_number_or(lengths, json_text_or(input, "site", ""), 1);
		inverse += inputs[i].weight;
	}
	made->second_scale = weights > 0 ? inverse / weights : 0;
	order.aggregator = aggregator_find("weighted_mean");
	order.outliers = NULL;
	made->second = blob_scratch(engine->options.blobs);
	return made->second ? aggregate_files(&order, made->second, error) : error_no_memory(error);
}

static int step_on(struct engine *engine, const json_t *manifest, const char *model, struct recomputed *made,
	struct rounds_error *error)
{
	const json_t *step = json_object_get(manifest, "step");
	scoped(text_free) char *state = NULL;
	struct server_step_files files = { .model = model,
		.aggregate = made->aggregate,
		.second = made->second,
		.second_scale = made->second_scale };

	if (find_blob(engine, manifest, "control_in", true, &state, error))
		return -1;
	made->model = blob_scratch(engine->options.blobs);
	if (server_step_has_state(json_text_or(step, "name", "")))
		made->control = blob_scratch(engine->options.blobs);
	if (!made->model || (server_step_has_state(json_text_or(step, "name", "")) && !made->control))
		return error_no_memory(error);
	files.state = state;
	files.output = made->model;
	files.state_output = made->control;
	return server_step(step, &files, error);
}

/* Boosters are merged, not averaged: the updates in order of site behind the model's own trees. */
static int merge(struct engine *engine, const char *model, const struct aggregate_input *inputs, size_t count,
	struct recomputed *made, struct rounds_error *error)
{
	const char **paths = calloc(count + 1, sizeof(char *));
	int failed;

	for (size_t i = 0; paths && i < count; i++)
		paths[i] = inputs[i].path;
	made->model = blob_scratch(engine->options.blobs);
	failed = paths && made->model ? boosters_merge(model, paths, count, made->model, error)
				      : error_no_memory(error);
	free(paths);
	free(made->outliers);
	made->outliers = NULL;
	return failed;
}

static int recompute(struct engine *engine, const json_t *manifest, struct aggregate_input *inputs,
	struct recomputed *made, struct rounds_error *error)
{
	bool steps = json_object_get(manifest, "step") != NULL;
	scoped(text_free) char *model = NULL;
	struct aggregate_order order = {
		.aggregator = aggregator_find(json_text_or(manifest, "method", "")),
		.params = json_object_get(manifest, "params"),
		.inputs = inputs,
		.threads = engine->options.threads,
		.outliers = made->outliers,
	};

	if (!order.aggregator && !has_boosters(manifest))
		return error_set(error, ERROR_INTERNAL, "this server has no aggregator \"%s\"",
			json_text_or(manifest, "method", ""));
	if (find_blob(engine, manifest, "model_in", manifest_needs_model(manifest), &model, error) ||
		list_inputs(engine, manifest, inputs, &order.count, error))
		return -1;
	if (has_boosters(manifest))
		return merge(engine, model, inputs, order.count, made, error);
	/* Where only the outliers look at the model, a manifest can be proven without it. */
	order.model = aggregator_needs_model(order.aggregator) || made->outliers ? model : NULL;
	made->aggregate = blob_scratch(engine->options.blobs);
	if (!made->aggregate)
		return error_no_memory(error);
	if (aggregate_files(&order, made->aggregate, error))
		return -1;
	if (steps)
		return second_mean(engine, manifest, order, inputs, made, error) ||
				       step_on(engine, manifest, model, made, error)
			       ? -1
			       : 0;
	made->model = made->aggregate;
	made->aggregate = NULL;
	return 0;
}

bool manifest_needs_model(const json_t *manifest)
{
	const struct aggregator *aggregator = aggregator_find(json_text_or(manifest, "method", ""));

	return json_object_get(manifest, "step") || has_boosters(manifest) ||
	       !strcmp(json_text_or(manifest, "method", ""), "combination") ||
	       (aggregator && aggregator_needs_model(aggregator));
}

int manifest_recompute(struct engine *engine, const json_t *manifest, bool outliers, struct recomputed *made,
	struct rounds_error *error)
{
	const json_t *list = json_object_get(manifest, "inputs");
	size_t count = 2 * json_array_size(list) + 1; /* bases and the model, at most */
	struct aggregate_input *inputs = calloc(count + 1, sizeof(*inputs));
	int failed;

	*made = (struct recomputed){ .outliers = outliers ? calloc(count, sizeof(struct outlier)) : NULL };
	failed = inputs && (!outliers || made->outliers)
			 ? prove_inputs(engine, list, error) || recompute(engine, manifest, inputs, made, error)
			 : error_no_memory(error);
	inputs_free(inputs, count);
	if (failed)
		recomputed_free(made);
	return failed ? -1 : 0;
}
