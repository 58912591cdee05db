/*
 * Federated averaging: in every round a cohort of sites trains the same model, and the mean of what they send back,
 * weighted by their sample counts, is the next model.
 * McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017.
 *
 * Before it trains, a site measures the model that it was given, so the metrics of the model of round r arrive with
 * the updates of round r + 1; metrics named train_* are of the site's own training and belong to its round. After
 * the last round the model is evaluated at every site.
 *
 * State: {"phase", "round", "model", "cohort": [site], "results": {site: {"weight", "metrics"}}, "lost": [site],
 *         "best", "since_best"}
 */
#include "server/workflows/workflows.h"

#include "common/json.h"

#include <math.h>
#include <string.h>

static const struct field params[] = {
	{ "rounds", FIELD_INTEGER, "How many rounds to train", .fallback = "10", .min = 1, .max = 1000000 },
	{ "fraction", FIELD_NUMBER,
		"Share of the job's sites that train in a round, chosen by the job's seed; 1: all of them",
		.fallback = "1.0", .min = 0, .max = 1, .exclusive = true },
	{ "quorum", FIELD_INTEGER, "Updates that suffice to close a round; 0: one from every site of the cohort",
		.fallback = "0", .min = 0, .max = 100000 },
	{ "deadline_seconds", FIELD_NUMBER,
		"After so long a round closes with what it has, if that is a quorum; 0: never", .fallback = "0",
		.min = 0, .max = 31536000 },
	{ "grace_seconds", FIELD_NUMBER, "How long a round that has its quorum waits for the stragglers",
		.fallback = "0", .min = 0, .max = 31536000 },
	{ "failure_policy", FIELD_TEXT,
		"When a site fails for good: go on while a quorum is possible, or fail the job",
		.fallback = "\"tolerate\"", .choices = { "tolerate", "fail" } },
	{ "key_metric", FIELD_TEXT, "The metric that decides which model is best; empty: the last model is",
		.fallback = "\"\"", .min = 0, .max = 63 },
	{ "key_metric_goal", FIELD_TEXT, "Whether more or less of the key metric is better", .fallback = "\"max\"",
		.choices = { "max", "min" } },
	{ "early_stop_rounds", FIELD_INTEGER,
		"Stop when the key metric has not improved for so many rounds; 0: never", .fallback = "0", .min = 0,
		.max = 1000000 },
	{ "evaluate_last", FIELD_BOOL, "Evaluate the last model at every site before the job completes",
		.fallback = "true" },
	{ NULL },
};

static void check(const json_t *given, json_t *faults)
{
	if (json_integer_or(given, "early_stop_rounds", 0) && !*json_text_or(given, "key_metric", ""))
		fields_fault(faults, "params.early_stop_rounds", "needs a key_metric to look at");
}

static int64_t rounds_of(const json_t *given)
{
	return json_integer_or(given, "rounds", 10);
}

static int64_t round_of(const json_t *state)
{
	return json_integer_or(state, "round", 0);
}

static const char *model_of(const json_t *state)
{
	return json_text_or(state, "model", "");
}

static bool in_phase(const json_t *state, const char *phase)
{
	return !strcmp(json_text_or(state, "phase", ""), phase);
}

static void set_phase(json_t *state, const char *phase)
{
	json_object_set_new(state, "phase", json_string(phase));
	json_object_set_new(state, "results", json_object());
	json_object_set_new(state, "lost", json_array());
}

static size_t answered(const json_t *state)
{
	return json_object_size(json_object_get(state, "results"));
}

static size_t lost(const json_t *state)
{
	return json_array_size(json_object_get(state, "lost"));
}

static size_t cohort_size(const json_t *state)
{
	return json_array_size(json_object_get(state, "cohort"));
}

static size_t quorum(const struct job_view *job, const json_t *state)
{
	size_t wanted = (size_t)json_integer_or(job->params, "quorum", 0);

	return wanted == 0 || wanted > cohort_size(state) ? cohort_size(state) : wanted;
}

/* Sends the present task to each site of the cohort. */
static void send(const struct job_view *job, json_t *state, const char *kind, struct plan *plan)
{
	double deadline = json_number_or(job->params, "deadline_seconds", 0);
	size_t i;
	json_t *site;

	json_array_foreach (json_object_get(state, "cohort"), i, site)
		plan_task(plan, kind, json_string_value(site), round_of(state), model_of(state));
	if (deadline > 0)
		plan_timer(plan, "deadline", deadline);
}

static void choose_cohort(const struct job_view *job, json_t *state, double fraction)
{
	size_t count = (size_t)ceil(fraction * (double)job->site_count - 1e-9);
	json_t *cohort = json_array();

	choose(job->sites, job->site_count, count ? count : 1, job->seed, (uint64_t)round_of(state), cohort);
	json_object_set_new(state, "cohort", cohort);
}

static void begin_round(const struct job_view *job, json_t *state, int64_t round, struct plan *plan)
{
	set_phase(state, "training");
	json_object_set_new(state, "round", json_integer(round));
	choose_cohort(job, state, json_number_or(job->params, "fraction", 1));
	plan_round(plan, round, model_of(state));
	send(job, state, "train", plan);
}

static void begin_evaluation(const struct job_view *job, json_t *state, struct plan *plan)
{
	set_phase(state, "evaluating");
	choose_cohort(job, state, 1);
	send(job, state, "evaluate", plan);
}

static void take_model(json_t *state, int64_t round, const char *model, struct plan *plan)
{
	json_object_set_new(state, "model", json_string(model));
	plan_model(plan, round, model);
}

static void start(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	(void)event;
	if (job->initial_model) {
		take_model(state, 0, job->initial_model, plan);
		begin_round(job, state, 1, plan);
		return;
	}
	set_phase(state, "initializing");
	plan_task(plan, "initialize", job->sites[0], 0, NULL);
}

/* Means over the sites in order of name, so that the order of arrival does not show in the last bit. */
static void close_metrics(
	const struct job_view *job, const json_t *state, int64_t model_round, struct plan *plan, json_t *means)
{
	json_auto_t *weights = json_object();

	for (size_t i = 0; i < job->site_count; i++) {
		const json_t *result = json_object_get(json_object_get(state, "results"), job->sites[i]);
		double weight = json_number_or(result, "weight", 0);
		const char *name;
		json_t *value;

		json_object_foreach (json_object_get(result, "metrics"), name, value) {
			if (!json_is_number(value))
				continue;
			json_object_set_new(means, name,
				json_real(json_number_or(means, name, 0) + weight * json_number_value(value)));
			json_object_set_new(weights, name, json_real(json_number_or(weights, name, 0) + weight));
		}
	}
	const char *name;
	json_t *sum;
	json_object_foreach (means, name, sum) {
		double mean = json_number_value(sum) / json_number_or(weights, name, 1);
		bool own = !strncmp(name, "train_", 6);

		json_real_set(sum, mean);
		plan_metric(plan, own ? model_round + 1 : model_round, "", name, mean);
	}
}

/* Looks at the key metric of the model of `round`; true if training should stop. */
static bool judge(const struct job_view *job, json_t *state, int64_t round, const json_t *means, struct plan *plan)
{
	const char *key = json_text_or(job->params, "key_metric", "");
	int64_t patience = json_integer_or(job->params, "early_stop_rounds", 0);
	int64_t since = json_integer_or(state, "since_best", 0);
	const json_t *value = json_object_get(means, key), *best = json_object_get(state, "best");
	bool more = !strcmp(json_text_or(job->params, "key_metric_goal", "max"), "max");

	if (!*key)
		return false;
	if (!json_is_number(value)) {
		if (!json_bool_or(state, "key_metric_missed", false))
			plan_note(plan, round, "no site reported the key metric \"%s\" as a number", key);
		json_object_set_new(state, "key_metric_missed", json_true());
		return false;
	}
	if (!best || (more ? json_number_value(value) > json_number_value(best)
			   : json_number_value(value) < json_number_value(best))) {
		json_object_set_new(state, "best", json_real(json_number_value(value)));
		json_object_set_new(state, "since_best", json_integer(0));
		plan_best(plan, round, model_of(state));
		return false;
	}
	json_object_set_new(state, "since_best", json_integer(since + 1));
	return patience > 0 && since + 1 >= patience;
}

static void complete(json_t *state, struct plan *plan)
{
	set_phase(state, "done");
	plan_complete(plan);
}

static void close_evaluation(const struct job_view *job, json_t *state, struct plan *plan)
{
	json_auto_t *means = json_object();

	plan_timer_off(plan, "deadline");
	plan_cancel(plan, round_of(state), "the evaluation has closed");
	close_metrics(job, state, round_of(state), plan, means);
	judge(job, state, round_of(state), means, plan);
	complete(state, plan);
}

static void close_round(const struct job_view *job, json_t *state, struct plan *plan)
{
	json_auto_t *means = json_object();
	int64_t round = round_of(state);
	bool stop;

	plan_timer_off(plan, "deadline");
	plan_timer_off(plan, "grace");
	plan_cancel(plan, round, "the round has closed without it");
	close_metrics(job, state, round - 1, plan, means);
	stop = judge(job, state, round - 1, means, plan);
	if (stop) {
		plan_note(plan, round, "stopped early: \"%s\" has not improved for %lld rounds",
			json_text_or(job->params, "key_metric", ""),
			(long long)json_integer_or(job->params, "early_stop_rounds", 0));
		complete(state, plan);
		return;
	}
	json_object_set_new(state, "phase", json_string("aggregating"));
	plan_aggregate(plan, round, "train", "weighted_mean");
}

/* A round closes when everyone has answered or is lost, or when those who answered suffice and the grace is over. */
static void settle(const struct job_view *job, json_t *state, struct plan *plan)
{
	double grace = json_number_or(job->params, "grace_seconds", 0);
	size_t have = answered(state), open = cohort_size(state) - have - lost(state);

	if (in_phase(state, "evaluating")) {
		if (open == 0)
			close_evaluation(job, state, plan);
		return;
	}
	if (have < quorum(job, state))
		return;
	if (open == 0 || grace <= 0)
		close_round(job, state, plan);
	else if (have == quorum(job, state))
		plan_timer(plan, "grace", grace);
}

static void note_metrics(const struct event *event, const json_t *state, struct plan *plan)
{
	bool evaluation = in_phase(state, "evaluating");
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)event->metrics, name, value) {
		bool of_round = evaluation || !strncmp(name, "train_", 6);

		plan_metric(plan, of_round ? event->round : event->round - 1, event->site, name,
			json_is_number(value) ? json_number_value(value) : NAN);
	}
}

static void take_result(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	if (in_phase(state, "initializing")) {
		take_model(state, 0, event->model, plan);
		begin_round(job, state, 1, plan);
		return;
	}
	if (!in_phase(state, "training") && !in_phase(state, "evaluating"))
		return;
	json_object_set_new(json_object_get(state, "results"), event->site,
		json_pack("{s:f, s:O?}", "weight", event->weight, "metrics", (json_t *)(uintptr_t)event->metrics));
	note_metrics(event, state, plan);
	settle(job, state, plan);
}

static void take_failure(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	bool strict = !strcmp(json_text_or(job->params, "failure_policy", "tolerate"), "fail");

	if (in_phase(state, "initializing")) {
		plan_fail(plan, "%s could not make the initial model: %s", event->site, event->reason);
		return;
	}
	if (!in_phase(state, "training") && !in_phase(state, "evaluating"))
		return;
	json_array_append_new(json_object_get(state, "lost"), json_string(event->site));
	if (strict && in_phase(state, "training"))
		plan_fail(plan, "%s failed in round %lld: %s", event->site, (long long)event->round, event->reason);
	else if (in_phase(state, "training") && cohort_size(state) - lost(state) < quorum(job, state))
		plan_fail(plan, "round %lld cannot reach its quorum of %zu: %s failed: %s", (long long)event->round,
			quorum(job, state), event->site, event->reason);
	else
		settle(job, state, plan);
}

static void take_aggregate(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	take_model(state, event->round, event->model, plan);
	if (event->round < rounds_of(job->params))
		begin_round(job, state, event->round + 1, plan);
	else if (json_bool_or(job->params, "evaluate_last", true))
		begin_evaluation(job, state, plan);
	else
		complete(state, plan);
}

static void time_is_up(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	(void)event;
	if (in_phase(state, "evaluating"))
		close_evaluation(job, state, plan);
	else if (in_phase(state, "training") && answered(state) >= quorum(job, state))
		close_round(job, state, plan);
	else if (in_phase(state, "training") && quorum(job, state) == cohort_size(state))
		plan_fail(plan,
			"round %lld reached its deadline with %zu of %zu updates and no smaller quorum was set",
			(long long)round_of(state), answered(state), cohort_size(state));
	else if (in_phase(state, "training"))
		plan_fail(plan, "round %lld reached its deadline with %zu updates; its quorum is %zu",
			(long long)round_of(state), answered(state), quorum(job, state));
}

const struct workflow workflow_fedavg = {
	.name = "fedavg",
	.summary = "Every site trains the same model; the weighted mean is the next one",
	.params = params,
	.check = check,
	.rounds = rounds_of,
	.steps = {
		[EVENT_STARTED] = start,
		[EVENT_RESULT] = take_result,
		[EVENT_TASK_FAILED] = take_failure,
		[EVENT_AGGREGATED] = take_aggregate,
		[EVENT_TIMER] = time_is_up,
	},
};
