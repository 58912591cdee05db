/*
 * Measuring a model: what all sites say of it as means, which model is best by that, and a round of questions to all sites
 * for workflows whose sites do not measure the same model as they train.
 */
#ifndef ROUNDS_SERVER_WORKFLOWS_MEASURING_H
#define ROUNDS_SERVER_WORKFLOWS_MEASURING_H

#include "server/engine/workflow.h"

/* clang-format off */
#define MEASURING_KEY_PARAMS(of_what) \
	{ "key_metric", FIELD_TEXT, "The metric that decides which " of_what " is best; empty: the last model is", \
		.fallback = "\"\"", .min = 0, .max = 63 }, \
	{ "key_metric_goal", FIELD_TEXT, "Whether more or less of the key metric is better", .fallback = "\"max\"", \
		.choices = { "max", "min" } }

#define MEASURING_LAST_PARAM \
	{ "evaluate_last", FIELD_BOOL, "Evaluate the last model at every site before the job completes", \
		.fallback = "true" }
/* clang-format on */

/*
 * The means over the sites, weighted by their samples, of the metrics in `results`, as results_of() gives them: put into the
 * plan and into `means`. As plan_metrics() has the sites' own, they are of `round` or of the model of `model_round`.
 */
void measuring_means(const json_t *results, int64_t round, int64_t model_round, struct plan *plan, json_t *means);

/*
 * Is the model of `round`, with these means, the best by the job's key_metric? Keeps {"best", "since_best"} in `state`; true
 * if it is the early_stop_rounds-th in a row that is not.
 */
bool measuring_judge(const struct job_view *job, json_t *state, int64_t round, const char *model, const json_t *means,
	struct plan *plan);

/* Asks every site to evaluate the model of `round`. Kept in `state` as {"measuring"}. */
void measuring_begin(const struct job_view *job, json_t *state, int64_t round, const char *model, struct plan *plan);

enum measuring {
	MEASURING_NOT, /* the event is of something else */
	MEASURING_GOES_ON,
	MEASURING_DONE, /* that was the last answer: means are in the plan, and the model is judged */
};

/* Takes a result, or a task that failed for good, if it is of what measuring_begin() asked. */
enum measuring measuring_take(
	const struct job_view *job, const struct event *event, json_t *state, struct plan *plan);

#endif
