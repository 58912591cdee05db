/*
 * FedBuff: nobody waits for a round. A site that has finished gets the newest model; the server adds up the changes that
 * come in, and every `buffer` of them make a new version. A change that was made from an older version counts less, by
 * 1 / sqrt(1 + versions in between); one that is too old is called off.
 * Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation, AISTATS 2022.
 *
 * A round is a version: its tasks train the version before it. A site contributes to a version once; if all have done so
 * and the buffer is not full, the version closes with what there is.
 *
 * State: {"model", "round", "working": {site: round}, "idle": [site], "gone": [site], "buffer": [{"site", "round"}],
 *         "aggregating", "measuring"}
 */
#include "server/workflows/measuring.h"
#include "server/workflows/workflows.h"

#include "common/artifact.h"
#include "common/json.h"

#include <math.h>
#include <string.h>

static const struct field params[] = {
	{ "rounds", FIELD_INTEGER, "How many versions of the model to make", .fallback = "10", .min = 1,
		.max = 1000000 },
	{ "buffer", FIELD_INTEGER, "How many changes make a new version", .fallback = "3", .min = 1, .max = 10000 },
	{ "server_learning_rate", FIELD_NUMBER, "Length of the server's steps", .fallback = "1.0", .min = 0,
		.max = 1e6, .exclusive = true },
	{ "max_staleness", FIELD_INTEGER, "Work on a version that is older by more is called off and given anew",
		.fallback = "5", .min = 0, .max = 1000 },
	{ "failure_policy", FIELD_TEXT, "When a site fails for good: go on without it, or fail the job",
		.fallback = "\"tolerate\"", .choices = { "tolerate", "fail" } },
	MEASURING_LAST_PARAM,
	{ NULL },
};

static int64_t rounds_of(const json_t *given)
{
	return json_integer_or(given, "rounds", 10);
}

static int64_t round_of(const json_t *state)
{
	return json_integer_or(state, "round", 0);
}

static void give_work(json_t *state, const char *site, struct plan *plan)
{
	plan_task(plan, "train", site, round_of(state), json_text_or(state, "model", ""));
	json_object_set_new(json_object_get(state, "working"), site, json_integer(round_of(state)));
}

/* A new version: whoever is idle trains it. */
static void begin_round(json_t *state, int64_t round, const char *model, struct plan *plan)
{
	json_t *idle = json_object_get(state, "idle"), *site;
	size_t i;

	json_object_set_new(state, "model", json_string(model));
	json_object_set_new(state, "round", json_integer(round));
	plan_round(plan, round, model);
	json_array_foreach (idle, i, site)
		give_work(state, json_string_value(site), plan);
	json_array_clear(idle);
}

static void begin(const struct job_view *job, json_t *state, const char *model, struct plan *plan)
{
	json_t *idle = json_array();
	struct sites sites = sites_of(job);

	for (size_t i = 0; i < sites.count; i++)
		json_array_append_new(idle, json_string(sites.names[i]));
	json_object_set_new(state, "idle", idle);
	json_object_set_new(state, "working", json_object());
	json_object_set_new(state, "buffer", json_array());
	plan_model(plan, 0, model);
	begin_round(state, 1, model, plan);
}

static void start(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	(void)event;
	if (job->initial_model)
		begin(job, state, job->initial_model, plan);
	else
		plan_task(plan, "initialize", sites_of(job).names[0], 0, NULL);
}

/* The weight of each buffered change: rate / K / sqrt(1 + staleness). */
static void make_version(const struct job_view *job, json_t *state, struct plan *plan)
{
	json_t *buffer = json_object_get(state, "buffer"), *entry;
	double rate = json_number_or(job->params, "server_learning_rate", 1) / (double)json_array_size(buffer);
	size_t i;

	json_array_foreach (buffer, i, entry) {
		double staleness = (double)(round_of(state) - json_integer_or(entry, "round", 0));

		json_object_set_new(entry, "weight", json_real(rate / sqrt(1 + staleness)));
	}
	json_object_set_new(state, "aggregating", json_true());
	plan_aggregate(plan, round_of(state), "train",
		&(const struct aggregate_plan){ .method = "combination", .results = buffer });
	json_object_set_new(state, "buffer", json_array());
}

static void settle(const struct job_view *job, json_t *state, struct plan *plan)
{
	size_t have = json_array_size(json_object_get(state, "buffer"));
	bool nobody_works = json_object_size(json_object_get(state, "working")) == 0;

	if (json_bool_or(state, "aggregating", false))
		return;
	if (have >= (size_t)json_integer_or(job->params, "buffer", 3) || (nobody_works && have > 0))
		make_version(job, state, plan);
	else if (nobody_works)
		plan_fail(plan, "no site is left that can train and has samples");
}

/* Whether the event is of the last model's evaluation. */
static bool evaluated(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	enum measuring measuring = measuring_take(job, event, state, plan);

	if (measuring == MEASURING_DONE)
		plan_complete(plan);
	return measuring != MEASURING_NOT;
}

static void take_result(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	if (!strcmp(event->task, "initialize")) {
		begin(job, state, artifact_digest(event->files, "update"), plan);
		return;
	}
	if (evaluated(job, event, state, plan))
		return;
	plan_metrics(plan, event, event->round - 1);
	if (event->weight > 0)
		json_array_append_new(json_object_get(state, "buffer"),
			json_pack("{s:s, s:I}", "site", event->site, "round", (json_int_t)event->round));
	json_object_del(json_object_get(state, "working"), event->site);
	if (event->round < round_of(state))
		give_work(state, event->site, plan);
	else
		json_array_append_new(json_object_get(state, "idle"), json_string(event->site));
	settle(job, state, plan);
}

static void take_failure(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	if (!strcmp(event->task, "initialize")) {
		plan_fail(plan, "%s could not make the initial model: %s", event->site, event->reason);
		return;
	}
	if (evaluated(job, event, state, plan))
		return;
	if (!event->is_skipped && !strcmp(json_text_or(job->params, "failure_policy", "tolerate"), "fail")) {
		plan_fail(plan, "%s failed: %s", event->site, event->reason);
		return;
	}
	json_object_del(json_object_get(state, "working"), event->site);
	if (event->is_skipped) /* it is asked again when there is another version */
		json_array_append_new(json_object_get(state, "idle"), json_string(event->site));
	settle(job, state, plan);
}

/* Work on versions before the oldest that still counts is called off; whoever did it is idle. */
static void call_off(json_t *state, int64_t oldest, const char *reason, struct plan *plan)
{
	const char *site;
	json_t *at;
	void *next;

	json_object_foreach_safe(json_object_get(state, "working"), next, site, at)
	{
		if (json_integer_value(at) >= oldest)
			continue;
		plan_cancel(plan, json_integer_value(at), reason);
		json_array_append_new(json_object_get(state, "idle"), json_string(site));
		json_object_del(json_object_get(state, "working"), site);
	}
}

static void take_version(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	const char *model = artifact_digest(event->files, "model");

	json_object_del(state, "aggregating");
	plan_model(plan, event->round, model);
	if (event->round < rounds_of(job->params)) {
		call_off(state, event->round + 1 - json_integer_or(job->params, "max_staleness", 5),
			"its version of the model is too old", plan);
		begin_round(state, event->round + 1, model, plan);
		settle(job, state, plan);
	} else if (json_bool_or(job->params, "evaluate_last", true)) {
		call_off(state, INT64_MAX, "the last version is made", plan);
		measuring_begin(job, state, event->round, model, plan);
	} else {
		plan_complete(plan);
	}
}

const struct workflow workflow_fedbuff = {
	.name = "fedbuff",
	.summary = "Nobody waits: changes are added up as they come, and old ones count less",
	.params = params,
	.rounds = rounds_of,
	.steps = {
		[EVENT_STARTED] = start,
		[EVENT_RESULT] = take_result,
		[EVENT_TASK_FAILED] = take_failure,
		[EVENT_AGGREGATED] = take_version,
	},
};
