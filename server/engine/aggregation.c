/* The thread that makes one model out of a round's updates, and proves old ones. */
#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "server/aggregate/aggregate.h"
#include "server/store/blob_index.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int round_inputs(struct store_tx *tx, const json_t *job, int64_t round, const char *kind, json_t **inputs,
	struct rounds_error *error)
{
	json_auto_t *tasks = NULL, *list = json_array();
	scoped(free) void *room = NULL;
	double *weights;
	size_t count, i;
	json_t *task;

	if (task_list_done(tx, json_text_or(job, "id", ""), round, kind, &tasks, error))
		return -1;
	count = json_array_size(tasks);
	room = weights = calloc(count + 1, sizeof(double));
	if (!room)
		return error_no_memory(error);
	json_array_foreach (tasks, i, task)
		weights[i] = json_number_or(task, "weight", 1);
	weights_cap(weights, count, json_number_or(json_object_get(job, "spec"), "max_weight_share", 1));
	json_array_foreach (tasks, i, task)
		json_array_append_new(list, json_pack("{s:O, s:O, s:f, s:O}", "site", json_object_get(task, "site"),
						    "update", json_object_get(task, "update"), "weight", weights[i],
						    "claimed_weight", json_object_get(task, "weight")));
	*inputs = json_incref(list);
	return 0;
}

json_t *manifest_new(int64_t round, const char *method, const char *model_in, const char *model, json_t *inputs,
	const char *previous)
{
	return json_pack("{s:i, s:I, s:s, s:s?, s:s, s:o, s:s?}", "version", 1, "round", (json_int_t)round, "method",
		method, "model_in", model_in, "model", model, "inputs", inputs, "previous", previous);
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

int manifest_recompute(struct engine *engine, const json_t *manifest, char **path, struct rounds_error *error)
{
	const json_t *list = json_object_get(manifest, "inputs");
	const struct aggregator *aggregator = aggregator_find(json_text_or(manifest, "method", ""));
	size_t count = json_array_size(list);
	struct aggregate_input *inputs;
	int failed = 0;

	if (!aggregator)
		return error_set(error, ERROR_INTERNAL, "this server has no aggregator \"%s\"",
			json_text_or(manifest, "method", ""));
	if (prove_inputs(engine, list, error))
		return -1;
	inputs = calloc(count + 1, sizeof(*inputs));
	*path = blob_scratch(engine->options.blobs);
	if (!inputs || !*path)
		failed = error_no_memory(error);
	for (size_t i = 0; !failed && i < count; i++) {
		struct digest digest = { 0 };

		(void)digest_parse(json_text_or(json_array_get(list, i), "update", ""), &digest); /* proven above */
		inputs[i].path = blob_path(engine->options.blobs, &digest);
		inputs[i].weight = json_number_or(json_array_get(list, i), "weight", 1);
		if (!inputs[i].path)
			failed = error_no_memory(error);
	}
	if (!failed)
		failed = aggregate_files(aggregator, inputs, count, engine->options.threads, *path, error);
	inputs_free(inputs, count);
	if (failed) {
		free(*path);
		*path = NULL;
	}
	return failed;
}

struct aggregation_order {
	struct engine *engine;
	json_t *round, *job, *inputs, *previous; /* rows */
	struct digest digest;
	uint64_t size;
	struct rounds_error *failure;
	bool is_verification;
	json_t *verification;
};

static void order_free(struct aggregation_order *order)
{
	json_decref(order->round);
	json_decref(order->job);
	json_decref(order->inputs);
	json_decref(order->previous);
	json_decref(order->verification);
}

static int take_order(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct aggregation_order *order = argument;
	const char *job;
	int64_t number;

	if (round_next_to_aggregate(tx, &order->round, error))
		return -1;
	if (!order->round)
		return verification_next(tx, &order->verification, error);
	job = json_text_or(order->round, "job", "");
	number = json_integer_or(order->round, "number", 0);
	return job_find(tx, job, &order->job, error) ||
			       round_inputs(tx, order->job, number, json_text_or(order->round, "kind", ""),
				       &order->inputs, error) ||
			       round_before(tx, job, number, &order->previous, error)
		       ? -1
		       : 0;
}

static int store_aggregate(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct aggregation_order *order = argument;
	const char *job = json_text_or(order->job, "id", "");
	int64_t number = json_integer_or(order->round, "number", 0);
	char model[DIGEST_TEXT_SIZE], manifest_digest[DIGEST_TEXT_SIZE];
	json_auto_t *manifest = NULL, *now = NULL;
	scoped(text_free) char *text = NULL;
	struct digest digest;
	struct round_result result = { .model = model, .manifest_digest = manifest_digest };
	struct event event = { .kind = EVENT_AGGREGATED, .round = number, .model = model };

	if (round_find(tx, job, number, &now, error))
		return -1;
	if (strcmp(json_text_or(now, "state", ""), "aggregating") != 0)
		return 0;
	digest_format(&order->digest, model);
	manifest = manifest_new(number, json_text_or(order->round, "method", ""),
		json_text_or(order->round, "model_in", NULL), model, json_incref(order->inputs),
		json_text_or(order->previous, "manifest_digest", NULL));
	text = json_canonical(manifest);
	if (!text)
		return error_no_memory(error);
	digest_of(text, strlen(text), &digest);
	digest_format(&digest, manifest_digest);
	result.manifest = manifest;
	return state_check(&round_machine, "aggregating", ROUND_DONE, error) ||
			       blob_add_in(order->engine, tx, &order->digest, order->size, NULL, error) ||
			       round_done(tx, job, number, &result, error) ||
			       note(order->engine, tx, job, number, "aggregated", NULL, "the round's model is ready",
				       error) ||
			       advance(order->engine, tx, job, &event, error)
		       ? -1
		       : 0;
}

/* No space: the job waits for it. A damaged update: someone must look. All else: the job has failed. */
static int store_failure(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct aggregation_order *order = argument;
	json_auto_t *job = NULL;
	const struct rounds_error *failure = order->failure;
	enum error_kind kind = failure->kind;
	char text[700];

	if (job_find(tx, json_text_or(order->job, "id", ""), &job, error))
		return -1;
	if (strcmp(json_text_or(job, "state", ""), "running") != 0)
		return 0;
	if (kind == ERROR_NO_SPACE || kind == ERROR_NO_MEMORY)
		return job_pause_in(order->engine, tx, job, failure->message, true, error);
	if (kind == ERROR_CHECKSUM || kind == ERROR_IO || kind == ERROR_NOT_FOUND) {
		snprintf(text, sizeof(text), "%s; put it back and resume the job, or abort it", failure->message);
		return job_pause_in(order->engine, tx, job, text, false, error);
	}
	return job_end(order->engine, tx, job, JOB_FAILED, failure->message, error);
}

static int aggregate_round(struct aggregation_order *order, struct rounds_error *error)
{
	struct engine *engine = order->engine;
	json_auto_t *draft = manifest_new(
		0, json_text_or(order->round, "method", ""), NULL, "", json_incref(order->inputs), NULL);
	scoped(text_free) char *path = NULL;

	if (manifest_recompute(engine, draft, &path, error) ||
		blob_adopt(engine->options.blobs, path, &order->digest, &order->size, error))
		return -1;
	return store_write(engine->options.store, store_aggregate, order, error);
}

struct report {
	const char *id;
	const json_t *report;
};

static int store_report(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;

	return verification_finish(tx, report->id, report->report, error);
}

static int do_verification(struct engine *engine, const json_t *verification, struct rounds_error *error)
{
	json_auto_t *report = NULL;
	struct report stored = { json_text_or(verification, "id", ""), NULL };

	if (verify_job(engine, json_text_or(verification, "job", ""), &report, error))
		return -1;
	stored.report = report;
	return store_write(engine->options.store, store_report, &stored, error);
}

/* True if there was something to do. */
static bool work_once(struct engine *engine, struct rounds_error *error)
{
	struct aggregation_order order = { .engine = engine, .failure = error };
	bool found = false, failed = store_read(engine->options.store, take_order, &order, error) != 0;
	struct rounds_error again = { 0 };

	if (!failed && order.round) {
		found = true;
		failed = aggregate_round(&order, error);
		if (failed && !store_write(engine->options.store, store_failure, &order, &again))
			log_warn("a round could not be aggregated", "job", json_text_or(order.job, "id", ""),
				"reason", error->message, NULL);
		failed = failed && again.kind != ERROR_NONE;
	} else if (!failed && order.verification) {
		found = true;
		failed = do_verification(engine, order.verification, error);
	}
	if (failed)
		log_error("aggregation could not go on; it tries again", "reason", error->message, NULL);
	order_free(&order);
	return found && !failed;
}

void *aggregation_run(void *argument)
{
	struct engine *engine = argument;
	struct timespec until;

	for (;;) {
		struct rounds_error error = { 0 };

		pthread_mutex_lock(&engine->lock);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += 2; /* whatever was missed or failed is tried again then */
		if (!engine->work_to_aggregate && !engine->stopping)
			pthread_cond_timedwait(&engine->aggregate, &engine->lock, &until);
		engine->work_to_aggregate = false;
		bool stopping = engine->stopping;
		pthread_mutex_unlock(&engine->lock);
		if (stopping)
			return NULL;
		if (work_once(engine, &error)) {
			pthread_mutex_lock(&engine->lock);
			engine->work_to_aggregate = true; /* there may be more */
			pthread_mutex_unlock(&engine->lock);
		}
	}
}
