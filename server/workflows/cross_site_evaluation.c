/*
 * Every site trains a model of its own from the same beginning, and every site measures all of them and their weighted mean:
 * a matrix that shows whose data teach what, and where a model does not carry over.
 *
 * State: {"phase", "models": how many were trained, "order": [whose], "left"}
 *
 * Round 1 trains. Round 2 + k measures the k-th model of the order. The metric NAME of the model of site A, measured at
 * site B, is NAME@A of site B in round 1.
 */
#include "server/workflows/workflows.h"

#include "common/artifact.h"
#include "common/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char mean_of_all[] = "mean";

static const struct field params[] = { { NULL } };

static int64_t rounds_of(const json_t *given)
{
	(void)given;
	return 1;
}

static bool in_phase(const json_t *state, const char *phase)
{
	return !strcmp(json_text_or(state, "phase", ""), phase);
}

static void train_all(const struct job_view *job, json_t *state, const char *model, struct plan *plan)
{
	struct sites sites = sites_of(job);

	json_object_set_new(state, "phase", json_string("training"));
	json_object_set_new(state, "models", json_integer(0));
	json_object_set_new(state, "left", json_integer((json_int_t)sites.count));
	plan_model(plan, 0, model);
	plan_round(plan, 1, model);
	for (size_t i = 0; i < sites.count; i++)
		plan_task(plan, "train", sites.names[i], 1, model);
}

static void start(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	(void)event;
	if (job->initial_model) {
		train_all(job, state, job->initial_model, plan);
		return;
	}
	json_object_set_new(state, "phase", json_string("initializing"));
	plan_task(plan, "initialize", sites_of(job).names[0], 0, NULL);
}

/* One less to wait for; true if it was the last. */
static bool count_down(json_t *state)
{
	int64_t left = json_integer_or(state, "left", 0) - 1;

	json_object_set_new(state, "left", json_integer(left));
	return left == 0;
}

static void training_ends(json_t *state, struct plan *plan)
{
	if (json_integer_or(state, "models", 0) == 0)
		plan_fail(plan, "no site could train a model");
	else
		plan_aggregate(plan, 1, "train", &(const struct aggregate_plan){ .method = "weighted_mean" });
}

/* Every model, in order of its site's name and the mean last, goes to every site. */
static void measure_all(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	json_auto_t *models = results_of(job, "train", 1);
	json_t *order = json_array(), *whose;
	struct sites sites = sites_of(job);
	const char *mean = artifact_digest(event->files, "model");
	size_t k;

	json_array_append_new(
		models, json_pack("{s:s, s:{s:{s:s}}}", "site", mean_of_all, "files", "update", "digest", mean));
	json_array_foreach (models, k, whose) {
		json_array_append(order, json_object_get(whose, "site"));
		for (size_t i = 0; i < sites.count; i++)
			plan_task(plan, "evaluate", sites.names[i], 2 + (int64_t)k,
				artifact_digest(json_object_get(whose, "files"), "update"));
	}
	json_object_set_new(
		state, "left", json_integer((json_int_t)json_array_size(order) * (json_int_t)sites.count));
	json_object_set_new(state, "order", order);
	json_object_set_new(state, "phase", json_string("measuring"));
	plan_model(plan, 1, mean);
}

static void take_measure(const struct event *event, json_t *state, struct plan *plan)
{
	const char *whose = json_string_value(
		json_array_get(json_object_get(state, "order"), (size_t)event->round - 2));
	const char *name;
	char full[140];
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)event->metrics, name, value) {
		snprintf(full, sizeof(full), "%.63s@%s", name, whose ? whose : "?");
		plan_metric(plan, 1, event->site, full, json_is_number(value) ? json_number_value(value) : NAN);
	}
}

static void take_result(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	const char *update = artifact_digest(event->files, "update");

	if (in_phase(state, "initializing")) {
		train_all(job, state, update, plan);
		return;
	}
	if (in_phase(state, "training")) {
		json_object_set_new(state, "models", json_integer(json_integer_or(state, "models", 0) + 1));
		plan_metrics(plan, event, 0);
		if (count_down(state))
			training_ends(state, plan);
		return;
	}
	take_measure(event, state, plan);
	if (count_down(state))
		plan_complete(plan);
}

/* A site that fails has no row or no column in the matrix. */
static void take_failure(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	(void)job;
	if (in_phase(state, "initializing"))
		plan_fail(plan, "%s could not make the initial model: %s", event->site, event->reason);
	else if (count_down(state) && in_phase(state, "training"))
		training_ends(state, plan);
	else if (json_integer_or(state, "left", 0) == 0)
		plan_complete(plan);
}

const struct workflow workflow_cross_site_evaluation = {
	.name = "cross_site_evaluation",
	.summary = "Every site's own model, and their mean, are measured at every site",
	.params = params,
	.rounds = rounds_of,
	.steps = {
		[EVENT_STARTED] = start,
		[EVENT_RESULT] = take_result,
		[EVENT_TASK_FAILED] = take_failure,
		[EVENT_AGGREGATED] = measure_all,
	},
};
