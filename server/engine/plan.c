#include "server/engine/plan.h"

#include "common/json.h"
#include "common/random.h"
#include "common/text.h"
#include "server/aggregate/aggregate.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void append(struct plan *plan, json_t *action)
{
	if (json_array_append_new(plan->actions, action))
		plan->failed = true;
}

void plan_round(struct plan *plan, int64_t round, const char *model)
{
	append(plan, json_pack("{s:s, s:I, s:s?}", "do", "round", "round", (json_int_t)round, "model", model));
}

void plan_task(struct plan *plan, const char *kind, const char *site, int64_t round, const char *model)
{
	json_auto_t *files = model ? json_pack("{s:s}", "model", model) : NULL;

	plan_task_with(plan, &(const struct task_plan){ .kind = kind, .site = site, .round = round, .files = files });
}

void plan_task_with(struct plan *plan, const struct task_plan *task)
{
	append(plan, json_pack("{s:s, s:s, s:s, s:I, s:O*, s:O*}", "do", "task", "kind", task->kind, "site",
			     task->site, "round", (json_int_t)task->round, "files", (json_t *)(uintptr_t)task->files,
			     "algorithm", (json_t *)(uintptr_t)task->algorithm));
}

void plan_cancel(struct plan *plan, int64_t round, const char *reason)
{
	append(plan, json_pack("{s:s, s:I, s:s}", "do", "cancel", "round", (json_int_t)round, "reason", reason));
}

void plan_aggregate(struct plan *plan, int64_t round, const char *kind, const struct aggregate_plan *how)
{
	const struct aggregator *aggregator = aggregator_find(how->method);
	json_auto_t *params = aggregator && aggregator->params ? fields_pick(aggregator->params, how->params) : NULL;

	append(plan,
		json_pack("{s:s, s:I, s:s, s:s, s:s*, s:O*, s:O*, s:O*, s:O*, s:O*}", "do", "aggregate", "round",
			(json_int_t)round, "kind", kind, "method", how->method, "file", how->file, "params", params,
			"weights", (json_t *)(uintptr_t)how->weights, "step", (json_t *)(uintptr_t)how->step,
			"results", (json_t *)(uintptr_t)how->results, "skipped", (json_t *)(uintptr_t)how->skipped));
}

void plan_timer(struct plan *plan, const char *name, double after_seconds)
{
	append(plan, json_pack("{s:s, s:s, s:f}", "do", "timer", "name", name, "after", after_seconds));
}

void plan_timer_off(struct plan *plan, const char *name)
{
	append(plan, json_pack("{s:s, s:s}", "do", "timer_off", "name", name));
}

void plan_metric(struct plan *plan, int64_t round, const char *site, const char *name, double value)
{
	append(plan, json_pack("{s:s, s:I, s:s, s:s, s:o}", "do", "metric", "round", (json_int_t)round, "site", site,
			     "name", name, "value", json_number_or_null(value)));
}

bool metric_is_of_round(const char *name)
{
	return !strncmp(name, "train_", 6) || !strncmp(name, "personal_", 9);
}

void plan_metrics(struct plan *plan, const struct event *event, int64_t model_round)
{
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)event->metrics, name, value)
		plan_metric(plan, metric_is_of_round(name) ? event->round : model_round, event->site, name,
			json_is_number(value) ? json_number_value(value) : NAN);
}

void plan_expect(struct plan *plan, int64_t rounds)
{
	append(plan, json_pack("{s:s, s:I}", "do", "expect", "rounds", (json_int_t)rounds));
}

void plan_model(struct plan *plan, int64_t round, const char *model)
{
	append(plan, json_pack("{s:s, s:I, s:s}", "do", "model", "round", (json_int_t)round, "model", model));
}

void plan_best(struct plan *plan, int64_t round, const char *model)
{
	append(plan, json_pack("{s:s, s:I, s:s}", "do", "best", "round", (json_int_t)round, "model", model));
}

static void append_text(struct plan *plan, const char *what, int64_t round, const char *format, va_list arguments)
{
	char text[500];

	text_print_from(text, sizeof(text), format, arguments);
	append(plan, json_pack("{s:s, s:I, s:s}", "do", what, "round", (json_int_t)round, "text", text));
}

void plan_note(struct plan *plan, int64_t round, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	append_text(plan, "note", round, format, arguments);
	va_end(arguments);
}

void plan_complete(struct plan *plan)
{
	append(plan, json_pack("{s:s}", "do", "complete"));
}

void plan_fail(struct plan *plan, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	append_text(plan, "fail", -1, format, arguments);
	va_end(arguments);
}

/* Selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S): each item with the chance that the count still needs. */
void choose(const char *const *items, size_t item_count, size_t count, uint64_t seed, uint64_t salt, json_t *chosen)
{
	uint64_t state = seed ^ salt * UINT64_C(0xd1342543de82ef95);

	for (size_t i = 0; i < item_count && count > 0; i++) {
		if (random_next(&state) % (item_count - i) >= count)
			continue;
		json_array_append_new(chosen, json_string(items[i]));
		count--;
	}
}
