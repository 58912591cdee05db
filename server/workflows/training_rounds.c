/*
 * Training in rounds: what federated averaging and most algorithms after it have in common. In every round a cohort of
 * sites trains the same model; when enough have answered, the round closes, one model is made of their updates, and the
 * next round begins with it. An algorithm says in its `struct training_rules` what the sites are asked to do differently
 * and how one model comes out of many.
 *
 * Before it trains, a site measures the model that it was given, so the metrics of the model of round r arrive with
 * the updates of round r + 1; metrics named train_* are of the site's own training and belong to its round. After
 * the last round the model is evaluated at every site. A site that had no samples (weight 0) has answered, but is no input.
 *
 * State: {"phase", "round", "model", "control": the state of the server's step, "cohort", "answered", "lost", "skipped": [site], "best", "since_best"}. How many
 * are in the cohort, have answered and have failed for good; whom a person has skipped is in the cohort no more.
 */
#include "server/workflows/training_rounds.h"

#include "common/artifact.h"
#include "common/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const struct field training_params[] = {
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
	MEASURING_KEY_PARAMS("model"),
	{ "early_stop_rounds", FIELD_INTEGER,
		"Stop when the key metric has not improved for so many rounds; 0: never", .fallback = "0", .min = 0,
		.max = 1000000 },
	MEASURING_LAST_PARAM,
	{ "aggregator", FIELD_TEXT, "How one model is made of a round's updates", .fallback = "\"weighted_mean\"",
		.variant = aggregator_variant },
	{ NULL },
};

void training_check(const json_t *given, json_t *faults)
{
	if (json_integer_or(given, "early_stop_rounds", 0) && !*json_text_or(given, "key_metric", ""))
		fields_fault(faults, "params.early_stop_rounds", "needs a key_metric to look at");
}

int64_t training_rounds(const json_t *given)
{
	return json_integer_or(given, "rounds", 10);
}

static const struct training_rules *rules_of(const struct job_view *job)
{
	return job->workflow->rules;
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
	json_object_set_new(state, "answered", json_integer(0));
	json_object_set_new(state, "lost", json_integer(0));
	json_object_del(state, "skipped");
}

static size_t answered(const json_t *state)
{
	return (size_t)json_integer_or(state, "answered", 0);
}

static size_t lost(const json_t *state)
{
	return (size_t)json_integer_or(state, "lost", 0);
}

static size_t cohort_size(const json_t *state)
{
	return (size_t)json_integer_or(state, "cohort", 0);
}

static void count(json_t *state, const char *what, int by)
{
	json_object_set_new(state, what, json_integer(json_integer_or(state, what, 0) + by));
}

static size_t quorum(const struct job_view *job, const json_t *state)
{
	size_t wanted = (size_t)json_integer_or(job->params, "quorum", 0);

	return wanted == 0 || wanted > cohort_size(state) ? cohort_size(state) : wanted;
}

/* Sends the present task to a cohort: that share of the job's sites. */
static void send(const struct job_view *job, json_t *state, const char *kind, double fraction, struct plan *plan)
{
	struct sites sites = sites_of(job);
	size_t count = (size_t)ceil(fraction * (double)sites.count - 1e-9);
	json_auto_t *cohort = json_array();
	double deadline = json_number_or(job->params, "deadline_seconds", 0);
	bool trains = !strcmp(kind, "train");
	json_auto_t *algorithm = rules_of(job)->instruct ? rules_of(job)->instruct(job) : NULL;
	json_auto_t *files = json_pack("{s:s}", "model", model_of(state));
	struct task_plan task = { .kind = kind, .round = round_of(state), .files = files, .algorithm = algorithm };
	size_t i;
	json_t *site;

	if (trains && rules_of(job)->shares_control && json_object_get(state, "control"))
		json_object_set(files, "control", json_object_get(state, "control"));
	choose(sites.names, sites.count, count ? count : 1, job->seed, (uint64_t)round_of(state), cohort);
	json_object_set_new(state, "cohort", json_integer((json_int_t)json_array_size(cohort)));
	json_array_foreach (cohort, i, site) {
		task.site = json_string_value(site);
		plan_task_with(plan, &task);
	}
	if (deadline > 0)
		plan_timer(plan, "deadline", deadline);
}

static void begin_round(const struct job_view *job, json_t *state, int64_t round, struct plan *plan)
{
	set_phase(state, "training");
	json_object_set_new(state, "round", json_integer(round));
	plan_round(plan, round, model_of(state));
	send(job, state, "train", json_number_or(job->params, "fraction", 1), plan);
}

static void begin_evaluation(const struct job_view *job, json_t *state, struct plan *plan)
{
	set_phase(state, "evaluating");
	send(job, state, "evaluate", 1, plan);
}

/* The first step with a model: what the job is for. */
static void begin_work(const struct job_view *job, json_t *state, struct plan *plan)
{
	if (rules_of(job)->only_evaluates)
		begin_evaluation(job, state, plan);
	else
		begin_round(job, state, 1, plan);
}

static void take_model(json_t *state, int64_t round, const char *model, struct plan *plan)
{
	json_object_set_new(state, "model", json_string(model));
	plan_model(plan, round, model);
}

void training_start(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	(void)event;
	if (job->initial_model) {
		take_model(state, 0, job->initial_model, plan);
		begin_work(job, state, plan);
		return;
	}
	set_phase(state, "initializing");
	json_auto_t *algorithm = rules_of(job)->instruct ? rules_of(job)->instruct(job) : NULL;
	plan_task_with(plan, &(const struct task_plan){
				     .kind = "initialize", .site = sites_of(job).names[0], .algorithm = algorithm });
}

static void complete(json_t *state, struct plan *plan)
{
	set_phase(state, "done");
	plan_complete(plan);
}

static void close_evaluation(const struct job_view *job, json_t *state, struct plan *plan)
{
	json_auto_t *means = json_object(), *results = results_of(job, "evaluate", round_of(state));

	plan_timer_off(plan, "deadline");
	plan_cancel(plan, round_of(state), "the evaluation has closed");
	if (answered(state) == 0 && rules_of(job)->only_evaluates) {
		plan_fail(plan, "no site could measure the model");
		return;
	}
	/* What was trained stays what it is. */
	if (answered(state) == 0)
		plan_note(plan, round_of(state), "no site could measure the last model; nobody knows how good it is");
	measuring_means(results, round_of(state), round_of(state), plan, means);
	measuring_judge(job, state, round_of(state), model_of(state), means, plan);
	complete(state, plan);
}

/* The results of sites that had samples: a new reference. */
static json_t *with_samples(const json_t *results)
{
	json_t *some = json_array(), *result;
	size_t i;

	json_array_foreach (results, i, result)
		if (json_number_or(result, "weight", 0) > 0)
			json_array_append(some, result);
	return some;
}

/* What is known of the round goes to the algorithm; without one, the job's aggregator makes the next model. */
static void combine(const struct job_view *job, const json_t *state, const json_t *all, struct plan *plan)
{
	json_auto_t *results = with_samples(all);
	struct combination how = {
		.method = json_text_or(job->params, "aggregator", "weighted_mean"),
		.results = results,
	};
	const json_t *skipped = json_object_get(state, "skipped");
	struct aggregate_plan asked = { 0 };
	char fault[300] = "";

	if (!json_array_size(results))
		snprintf(fault, sizeof(fault), "round %lld: none of the %zu sites that answered had any samples",
			(long long)round_of(state), answered(state));
	if (rules_of(job)->combine && !fault[0])
		rules_of(job)->combine(job, &how, fault, sizeof(fault));
	asked = (struct aggregate_plan){ .method = how.method,
		.params = job->params,
		.weights = how.weights,
		.step = how.step,
		.skipped = skipped };
	if (fault[0])
		plan_fail(plan, "%s", fault);
	else
		plan_aggregate(plan, round_of(state), "train", &asked);
	json_decref(how.weights);
	json_decref(how.step);
}

static void close_round(const struct job_view *job, json_t *state, struct plan *plan)
{
	int64_t round = round_of(state);
	json_auto_t *means = json_object(), *results = results_of(job, "train", round);
	bool stop;

	plan_timer_off(plan, "deadline");
	plan_timer_off(plan, "grace");
	plan_cancel(plan, round, "the round has closed without it");
	measuring_means(results, round, round - 1, plan, means);
	stop = measuring_judge(job, state, round - 1, model_of(state), means, plan);
	if (stop) {
		plan_note(plan, round, "stopped early: \"%s\" has not improved for %lld rounds",
			json_text_or(job->params, "key_metric", ""),
			(long long)json_integer_or(job->params, "early_stop_rounds", 0));
		complete(state, plan);
		return;
	}
	json_object_set_new(state, "phase", json_string("aggregating"));
	combine(job, state, results, plan);
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

void training_result(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	if (in_phase(state, "initializing")) {
		take_model(state, 0, artifact_digest(event->files, "update"), plan);
		begin_work(job, state, plan);
		return;
	}
	if (!in_phase(state, "training") && !in_phase(state, "evaluating"))
		return;
	count(state, "answered", 1);
	plan_metrics(plan, event, in_phase(state, "evaluating") ? event->round : event->round - 1);
	settle(job, state, plan);
}

/* The round was never meant for it: the cohort is smaller, and so is the quorum if it was all of it. */
static void leave_out(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	if (!json_object_get(state, "skipped"))
		json_object_set_new(state, "skipped", json_array());
	json_array_append_new(json_object_get(state, "skipped"), json_string(event->site));
	count(state, "cohort", -1);
	if (in_phase(state, "training") && cohort_size(state) == lost(state))
		plan_fail(plan, "round %lld has no site left: %s was %s", (long long)event->round, event->site,
			event->reason);
	else
		settle(job, state, plan);
}

void training_failure(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	bool strict = !strcmp(json_text_or(job->params, "failure_policy", "tolerate"), "fail");

	if (in_phase(state, "initializing")) {
		plan_fail(plan, "%s could not make the initial model: %s", event->site, event->reason);
		return;
	}
	if (!in_phase(state, "training") && !in_phase(state, "evaluating"))
		return;
	if (event->is_skipped) {
		leave_out(job, event, state, plan);
		return;
	}
	count(state, "lost", 1);
	if (strict && in_phase(state, "training"))
		plan_fail(plan, "%s failed in round %lld: %s", event->site, (long long)event->round, event->reason);
	else if (in_phase(state, "training") && cohort_size(state) - lost(state) < quorum(job, state))
		plan_fail(plan, "round %lld cannot reach its quorum of %zu: %s failed: %s", (long long)event->round,
			quorum(job, state), event->site, event->reason);
	else
		settle(job, state, plan);
}

void training_aggregate(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	const char *step_state = artifact_digest(event->files, "state");

	if (step_state)
		json_object_set_new(state, "control", json_string(step_state));
	take_model(state, event->round, artifact_digest(event->files, "model"), plan);
	if (event->round < training_rounds(job->params))
		begin_round(job, state, event->round + 1, plan);
	else if (json_bool_or(job->params, "evaluate_last", true))
		begin_evaluation(job, state, plan);
	else
		complete(state, plan);
}

void training_timer(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
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
