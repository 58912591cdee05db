/*
 * Cyclic weight transfer: one site trains and hands the model to the next, for `rounds` laps; each visit is a round.
 * Chang et al., Distributed deep learning networks among institutions for medical imaging, JAMIA 25(8), 2018.
 *
 * The same with XGBoost: every site adds trees to the booster that it was handed.
 *
 * The site that was visited last has the last word, so the last lap's model need not be the best: with a key_metric all sites
 * measure the model after every lap.
 *
 * State: {"model", "round": of the model, "visit", "measured": the round of the model that was, "measuring", "best"}; a visit is
 * a round.
 */
#include "server/workflows/measuring.h"
#include "server/workflows/workflows.h"

#include "common/artifact.h"
#include "common/json.h"
#include "common/random.h"

#include <string.h>

static const struct field params[] = {
	{ "rounds", FIELD_INTEGER, "How often the model goes round all sites", .fallback = "3", .min = 1,
		.max = 100000 },
	{ "order", FIELD_TEXT, "By name, or in an order that the seed chooses anew for every lap",
		.fallback = "\"fixed\"", .choices = { "fixed", "random" } },
	{ "failure_policy", FIELD_TEXT, "When a site fails for good: pass it over, or fail the job",
		.fallback = "\"tolerate\"", .choices = { "tolerate", "fail" } },
	MEASURING_KEY_PARAMS("lap's model"),
	MEASURING_LAST_PARAM,
	{ NULL },
};

static int64_t rounds_of(const json_t *given)
{
	return json_integer_or(given, "rounds", 3);
}

/* A lap's order is a permutation that follows from the seed and the lap. */
static const char *site_of(const struct job_view *job, int64_t number)
{
	struct sites sites = sites_of(job);
	size_t count = sites.count, place = (size_t)(number - 1) % count, lap = (size_t)(number - 1) / count;
	uint64_t random = random_salted(job->seed, lap);
	size_t *order = calloc(count, sizeof(size_t));

	for (size_t i = 0; order && i < count; i++)
		order[i] = i;
	if (order && !strcmp(json_text_or(job->params, "order", "fixed"), "random")) {
		random_shuffle(&random, order, count);
		place = order[place];
	}
	free(order);
	return sites.names[place];
}

static void visit(const struct job_view *job, json_t *state, int64_t number, struct plan *plan)
{
	const char *model = json_text_or(state, "model", "");

	plan_round(plan, number, model);
	plan_task(plan, "train", site_of(job, number), number, model);
}

/* A visit is over, be it that the site was passed over; the model has been measured, if this was asked for. */
static void go_on(const struct job_view *job, int64_t number, json_t *state, struct plan *plan)
{
	if (number < rounds_of(job->params) * (int64_t)sites_of(job).count)
		visit(job, state, number + 1, plan);
	else if (json_integer_or(state, "round", 0) > 0)
		plan_complete(plan);
	else
		plan_fail(plan, "no site could train the model");
}

static void end_visit(const struct job_view *job, int64_t number, json_t *state, struct plan *plan)
{
	int64_t sites = (int64_t)sites_of(job).count;
	bool lap = number % sites == 0, last = number == rounds_of(job->params) * sites;
	bool asked = *json_text_or(job->params, "key_metric", "") ||
		     (last && json_bool_or(job->params, "evaluate_last", true));
	int64_t round = json_integer_or(state, "round", 0);

	if (!lap || !asked || round == json_integer_or(state, "measured", 0)) {
		go_on(job, number, state, plan);
		return;
	}
	json_object_set_new(state, "visit", json_integer(number));
	json_object_set_new(state, "measured", json_integer(round));
	measuring_begin(job, state, round, json_text_or(state, "model", ""), plan);
}

/* Whether the event is of a measurement; after the last answer the next lap begins. */
static bool measured(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	enum measuring measuring = measuring_take(job, event, state, plan);

	if (measuring == MEASURING_DONE)
		go_on(job, json_integer_or(state, "visit", 0), state, plan);
	return measuring != MEASURING_NOT;
}

static void take_model(json_t *state, int64_t round, const char *model, struct plan *plan)
{
	json_object_set_new(state, "model", json_string(model));
	json_object_set_new(state, "round", json_integer(round));
	plan_model(plan, round, model);
}

static void start(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	(void)event;
	plan_expect(plan, rounds_of(job->params) * (int64_t)sites_of(job).count);
	if (!job->initial_model) {
		plan_task(plan, "initialize", sites_of(job).names[0], 0, NULL);
		return;
	}
	take_model(state, 0, job->initial_model, plan);
	visit(job, state, 1, plan);
}

/* The mean of one update is that update: so a visit has a manifest like every round. */
static void hand_over(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	if (!strcmp(event->task, "initialize")) {
		take_model(state, 0, artifact_digest(event->files, "update"), plan);
		visit(job, state, 1, plan);
		return;
	}
	if (measured(job, event, state, plan))
		return;
	plan_metrics(plan, event, event->round - 1);
	if (event->weight <= 0) {
		plan_note(plan, event->round, "%s had no samples and is passed over", event->site);
		end_visit(job, event->round, state, plan);
		return;
	}
	plan_aggregate(plan, event->round, "train", &(const struct aggregate_plan){ .method = job->workflow->rules });
}

static void take_over(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	take_model(state, event->round, artifact_digest(event->files, "model"), plan);
	end_visit(job, event->round, state, plan);
}

static void pass_over(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	if (!strcmp(event->task, "initialize"))
		plan_fail(plan, "%s could not make the initial model: %s", event->site, event->reason);
	else if (measured(job, event, state, plan))
		return;
	else if (!event->is_skipped && !strcmp(json_text_or(job->params, "failure_policy", "tolerate"), "fail"))
		plan_fail(plan, "%s failed: %s", event->site, event->reason);
	else
		end_visit(job, event->round, state, plan);
}

#define STEPS                                                                                                        \
	{                                                                                                            \
		[EVENT_STARTED] = start, [EVENT_RESULT] = hand_over, [EVENT_TASK_FAILED] = pass_over,                \
		[EVENT_AGGREGATED] = take_over                                                                       \
	}

const struct workflow workflow_cyclic = {
	.name = "cyclic",
	.summary = "One site after another trains the same model",
	.params = params,
	.rounds = rounds_of,
	.rules = "weighted_mean",
	.steps = STEPS,
};

const struct workflow workflow_xgboost_cyclic = {
	.name = "xgboost_cyclic",
	.summary = "One site after another adds trees to the same booster",
	.params = params,
	.rounds = rounds_of,
	.rules = "boosters",
	.updates = UPDATES_BOOSTERS,
	.steps = STEPS,
};
