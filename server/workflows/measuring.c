#include "server/workflows/measuring.h"

#include "common/json.h"

#include <string.h>

/* In order of name, so that the order of arrival does not show in the last bit. */
void measuring_means(const json_t *results, int64_t round, int64_t model_round, struct plan *plan, json_t *means)
{
	json_auto_t *weights = json_object();
	size_t i;
	const json_t *result;

	json_array_foreach (results, i, result) {
		double weight = json_number_or(result, "weight", 0);
		const char *name;
		json_t *value;

		json_object_foreach (json_object_get(result, "metrics"), name, value) {
			if (!json_is_number(value) || weight <= 0)
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

		json_real_set(sum, mean);
		plan_metric(plan, metric_is_of_round(name) ? round : model_round, "", name, mean);
	}
}

bool measuring_judge(const struct job_view *job, json_t *state, int64_t round, const char *model, const json_t *means,
	struct plan *plan)
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
		plan_best(plan, round, model);
		return false;
	}
	json_object_set_new(state, "since_best", json_integer(since + 1));
	return patience > 0 && since + 1 >= patience;
}

void measuring_begin(const struct job_view *job, json_t *state, int64_t round, const char *model, struct plan *plan)
{
	struct sites sites = sites_of(job);

	json_object_set_new(state, "measuring",
		json_pack("{s:I, s:s, s:I}", "round", (json_int_t)round, "model", model, "open",
			(json_int_t)sites.count));
	for (size_t i = 0; i < sites.count; i++)
		plan_task(plan, "evaluate", sites.names[i], round, model);
}

enum measuring measuring_take(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	json_t *asked = json_object_get(state, "measuring");
	int64_t round = json_integer_or(asked, "round", 0), open = json_integer_or(asked, "open", 0) - 1;
	json_auto_t *means = json_object(), *results = NULL;

	if (!asked || strcmp(event->task, "evaluate") != 0 || event->round != round)
		return MEASURING_NOT;
	json_object_set_new(asked, "open", json_integer(open));
	if (event->kind == EVENT_RESULT)
		plan_metrics(plan, event, round);
	if (open > 0)
		return MEASURING_GOES_ON;
	results = results_of(job, "evaluate", round);
	measuring_means(results, round, round, plan, means);
	measuring_judge(job, state, round, json_text_or(asked, "model", ""), means, plan);
	json_object_del(state, "measuring");
	return MEASURING_DONE;
}
