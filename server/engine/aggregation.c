/* The thread that makes one model out of a round's updates. */
#include "server/engine/internal.h"

#include "common/artifact.h"
#include "common/condition.h"
#include "common/json.h"
#include "common/log.h"
#include "server/aggregate/update_check.h"
#include "server/store/blob_index.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <stdio.h>
#include <string.h>

struct aggregation_order {
	struct engine *engine;
	json_t *round, *job, *inputs, *previous; /* rows */
	json_t *manifest;                        /* of what is to be made, then of what was made */
	struct recomputed made;
	struct digest model, control;
	uint64_t model_size, control_size;
	struct rounds_error *failure;
};

static void order_free(struct aggregation_order *order)
{
	json_decref(order->round);
	json_decref(order->job);
	json_decref(order->inputs);
	json_decref(order->previous);
	json_decref(order->manifest);
	recomputed_free(&order->made);
}

static int take_order(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct aggregation_order *order = argument;
	const char *job;
	int64_t number;

	if (round_next_to_aggregate(tx, &order->round, error))
		return -1;
	if (!order->round)
		return 0;
	job = json_text_or(order->round, "job", "");
	number = json_integer_or(order->round, "number", 0);
	return job_find(tx, job, &order->job, error) ||
			       round_inputs(tx, order->job, order->round, &order->inputs, error) ||
			       round_before(tx, job, number, &order->previous, error)
		       ? -1
		       : 0;
}

/* How each site's update lies to what was made of all. */
static int store_outliers(struct store_tx *tx, const struct aggregation_order *order, struct rounds_error *error)
{
	const char *job = json_text_or(order->job, "id", "");
	int64_t number = json_integer_or(order->round, "number", 0);
	size_t i;
	json_t *input;

	if (!order->made.outliers)
		return 0;
	json_array_foreach (order->inputs, i, input) {
		const char *site = json_text_or(input, "site", "");
		const struct outlier *outlier = &order->made.outliers[i];

		if (metric_set(tx, job, number, site, "aggregate_distance", outlier->distance, error) ||
			metric_set(tx, job, number, site, "aggregate_cosine", outlier->cosine, error))
			return -1;
	}
	return 0;
}

static int store_control(struct store_tx *tx, const struct aggregation_order *order, struct rounds_error *error)
{
	const char *control = json_text_or(order->manifest, "control", NULL),
		   *job = json_text_or(order->job, "id", "");

	if (!control)
		return 0;
	return blob_add_in(tx, &order->control, order->control_size, NULL, error) ||
			       blob_use(
				       tx, job, control, "control", json_integer_or(order->round, "number", 0), error)
		       ? -1
		       : 0;
}

/* What the workflow is told of: a new reference, NULL without memory. */
static json_t *files_made(const struct aggregation_order *order)
{
	const struct artifact model = { "model", json_text_or(order->manifest, "model", ""),
		(int64_t)order->model_size };
	const struct artifact state = { "state", json_text_or(order->manifest, "control", NULL),
		(int64_t)order->control_size };
	json_t *files = json_object();

	if (!artifact_put(files, &model) && (!state.digest || !artifact_put(files, &state)))
		return files;
	json_decref(files);
	return NULL;
}

static int store_aggregate(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct aggregation_order *order = argument;
	const char *job = json_text_or(order->job, "id", "");
	int64_t number = json_integer_or(order->round, "number", 0);
	char manifest_digest[DIGEST_TEXT_SIZE];
	json_auto_t *now = NULL;
	scoped(text_free) char *text = json_canonical(order->manifest);
	struct digest digest;
	const struct round_change change = { .model = json_text_or(order->manifest, "model", ""),
		.manifest = order->manifest,
		.manifest_digest = manifest_digest };
	json_auto_t *files = files_made(order);
	const struct event event = { .kind = EVENT_AGGREGATED, .round = number, .files = files };

	if (!text || !files)
		return error_no_memory(error);
	if (round_find(tx, job, number, &now, error))
		return -1;
	if (strcmp(json_text_or(now, "state", ""), "aggregating") != 0)
		return 0;
	digest_of(text, strlen(text), &digest);
	digest_format(&digest, manifest_digest);
	return round_move(tx, job, number, "aggregating", ROUND_DONE, &change, error) ||
			       blob_add_in(tx, &order->model, order->model_size, NULL, error) ||
			       store_control(tx, order, error) || store_outliers(tx, order, error) ||
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

static int adopt(struct aggregation_order *order, struct draft *draft, const char *name, struct digest *digest,
	uint64_t *size, struct rounds_error *error)
{
	char text[DIGEST_TEXT_SIZE];

	if (draft_adopt(draft, digest, size, error))
		return -1;
	digest_format(digest, text);
	json_object_set_new(order->manifest, name, json_string(text));
	return 0;
}

/* Finite updates may add up to what is not: nobody is to train from that. ERROR_UNPROCESSABLE names the tensor. */
static int check_made(const struct aggregation_order *order, struct rounds_error *error)
{
	scoped(view_release) struct view view = { 0 };
	double norm;

	if (draft_view(order->made.model, &view, error))
		return -1;
	if (!update_check(&view, NULL, 0, &norm, error))
		return 0;
	return error_prefix(error, "round %lld: what its updates give cannot be a model",
		(long long)json_integer_or(order->round, "number", 0));
}

static int aggregate_round(struct aggregation_order *order, struct rounds_error *error)
{
	struct engine *engine = order->engine;

	int64_t begun = engine_now(engine);
	unsigned long before = json_shortages();

	if (!json_array_size(order->inputs))
		return error_set(error, ERROR_UNPROCESSABLE,
			"round %lld: no site that answered had any samples, so there is nothing to make a model of",
			(long long)json_integer_or(order->round, "number", 0));
	order->manifest = manifest_draft(order->round, order->inputs, order->previous);
	if (!order->manifest)
		return error_no_memory(error);
	if (manifest_recompute(engine, order->manifest, true, &order->made, error) || check_made(order, error) ||
		adopt(order, order->made.model, "model", &order->model, &order->model_size, error) ||
		(order->made.control &&
			adopt(order, order->made.control, "control", &order->control, &order->control_size, error)))
		return -1;
	if (json_shortages() != before) /* a manifest that lacks a part */
		return error_no_memory(error);
	pthread_mutex_lock(&engine->lock);
	engine->counters.aggregations++;
	engine->counters.aggregation_us += (uint64_t)(engine_now(engine) - begun);
	engine->counters.aggregation_bytes += order->model_size * json_array_size(order->inputs);
	pthread_mutex_unlock(&engine->lock);
	return store_write(engine->options.store, store_aggregate, order, error);
}

bool aggregate_once(struct engine *engine, struct rounds_error *error)
{
	struct aggregation_order order = { .engine = engine, .failure = error };
	bool found = false, failed = store_read(engine->options.store, take_order, &order, error) != 0;
	struct rounds_error again = { 0 };

	if (!failed && order.round) {
		found = true;
		failed = aggregate_round(&order, error);
		if (failed) {
			pthread_mutex_lock(&engine->lock);
			engine->counters.failures++;
			pthread_mutex_unlock(&engine->lock);
		}
		if (failed && !store_write(engine->options.store, store_failure, &order, &again))
			log_warn("a round could not be aggregated", "job", json_text_or(order.job, "id", ""),
				"reason", error->message, NULL);
		failed = failed && again.kind != ERROR_NONE;
	}
	if (failed)
		log_error("aggregation could not go on; it tries again", "reason", error->message, NULL);
	order_free(&order);
	return found && !failed;
}

void *aggregation_run(void *argument)
{
	struct engine *engine = argument;

	for (;;) {
		struct rounds_error error = { 0 };

		pthread_mutex_lock(&engine->lock);
		/* Whatever was missed or failed is tried again then. */
		if (!engine->work_to_aggregate && !engine->stopping)
			condition_wait(&engine->aggregate, &engine->lock, 2 * SECOND_US);
		engine->work_to_aggregate = false;
		bool stopping = engine->stopping;
		pthread_mutex_unlock(&engine->lock);
		if (stopping)
			return NULL;
		if (aggregate_once(engine, &error)) {
			pthread_mutex_lock(&engine->lock);
			engine->work_to_aggregate = true; /* there may be more */
			pthread_mutex_unlock(&engine->lock);
		}
	}
}
