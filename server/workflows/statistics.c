/*
 * Federated analytics: two passes over every site's data, of which only sums leave it. The first gives counts, missing values,
 * means and deviations of the whole; the second, which knows these, histograms (so quantiles), correlations, contingency
 * tables and Kaplan and Meier's survival. What is summed, and how small cells are kept back, is told in
 * client/trainers/statistics.h; Job.statistics() of the Python package reads the result.
 *
 * State: {"pass", "left", "answered"}
 */
#include "server/workflows/workflows.h"

#include "common/artifact.h"
#include "common/json.h"

static const struct field params[] = {
	{ "bins", FIELD_INTEGER, "Cells of every histogram", .fallback = "20", .min = 1, .max = 10000 },
	{ "sigmas", FIELD_NUMBER, "Histograms reach so many deviations to either side of the mean", .fallback = "4.0",
		.min = 0, .max = 1000, .exclusive = true },
	{ "time", FIELD_TEXT, "Survival: the column of times; empty: none", .fallback = "\"\"", .min = 0,
		.max = 200 },
	{ "event", FIELD_TEXT, "Survival: the column that is 1 where the event was seen and 0 where it was not",
		.fallback = "\"\"", .min = 0, .max = 200 },
	{ "time_max", FIELD_NUMBER, "Survival: the end of the last of the bins, which begin at 0", .fallback = "0.0",
		.min = 0, .max = 1e300 },
	{ "min_sites", FIELD_INTEGER, "Sites that must answer; with fewer the job fails, lest one be told apart",
		.fallback = "1", .min = 1, .max = 10000 },
	{ NULL },
};

static void check(const json_t *given, json_t *faults)
{
	bool time = *json_text_or(given, "time", "") != '\0', event = *json_text_or(given, "event", "") != '\0';

	if (time != event || (time && !(json_number_or(given, "time_max", 0) > 0)))
		fields_fault(faults, "params.time", "needs event and time_max, and they need it");
}

static int64_t rounds_of(const json_t *given)
{
	(void)given;
	return 2;
}

static void begin_pass(const struct job_view *job, json_t *state, int64_t pass, const char *sums, struct plan *plan)
{
	json_auto_t *algorithm = json_pack("{s:I, s:O, s:O, s:O, s:O, s:O}", "statistics", (json_int_t)pass, "bins",
		json_object_get(job->params, "bins"), "sigmas", json_object_get(job->params, "sigmas"), "time",
		json_object_get(job->params, "time"), "event", json_object_get(job->params, "event"), "time_max",
		json_object_get(job->params, "time_max"));
	json_auto_t *files = sums ? json_pack("{s:s}", "model", sums) : NULL;
	struct task_plan task = { .kind = "train", .round = pass, .files = files, .algorithm = algorithm };
	struct sites sites = sites_of(job);

	json_object_set_new(state, "left", json_integer((int64_t)sites.count));
	json_object_set_new(state, "answered", json_integer(0));
	plan_round(plan, pass, sums);
	for (size_t i = 0; i < sites.count; i++) {
		task.site = sites.names[i];
		plan_task_with(plan, &task);
	}
}

static void start(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	(void)event;
	begin_pass(job, state, 1, NULL, plan);
}

static void settle(
	const struct job_view *job, const struct event *event, json_t *state, bool answered, struct plan *plan)
{
	json_int_t left = json_integer_or(state, "left", 0) - 1,
		   have = json_integer_or(state, "answered", 0) + answered;
	json_int_t needed = json_integer_or(job->params, "min_sites", 1);

	json_object_set_new(state, "left", json_integer(left));
	json_object_set_new(state, "answered", json_integer(have));
	if (have + left < needed)
		plan_fail(plan, "only %lld sites can answer and %lld must%s%s", have + left, needed,
			event->reason ? ": " : "", event->reason ? event->reason : "");
	else if (left == 0)
		plan_aggregate(plan, event->round, "train", &(const struct aggregate_plan){ .method = "total" });
}

static void take_result(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	settle(job, event, state, true, plan);
}

static void take_failure(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	settle(job, event, state, false, plan);
}

static void take_sums(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	const char *sums = artifact_digest(event->files, "model");

	plan_model(plan, event->round, sums);
	if (event->round == 1)
		begin_pass(job, state, 2, sums, plan);
	else
		plan_complete(plan);
}

const struct workflow workflow_statistics = {
	.name = "statistics",
	.summary = "Counts, means, histograms, correlations, contingency tables and survival of all sites' data together",
	.params = params,
	.check = check,
	.rounds = rounds_of,
	.updates = UPDATES_ANY,
	.steps = {
		[EVENT_STARTED] = start,
		[EVENT_RESULT] = take_result,
		[EVENT_TASK_FAILED] = take_failure,
		[EVENT_AGGREGATED] = take_sums,
	},
};
