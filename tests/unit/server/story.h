/*
 * A workflow's test is a story: tell it an event, expect what it plans. Actions read as the plan has them, with single
 * quotes for double ones:
 *
 *     tell(&story, result("a", 1, "M1"));
 *     expect(&story, "{'do': 'complete'}");
 */
#ifndef ROUNDS_TESTS_UNIT_STORY_H
#define ROUNDS_TESTS_UNIT_STORY_H

#include "tests/unit/test.h"

#include "common/json.h"
#include "server/engine/plan.h"

#include <stddef.h>

struct story {
	const struct workflow *workflow;
	struct job_view job;
	struct history history; /* what is in the next two */
	struct sites sites;
	json_t *results; /* as in their events, each with its "kind" and "round" */
	json_t *params, *state, *actions;
	size_t next;
};

static inline json_t *from_single_quotes(const char *text)
{
	char *copy = strdup(text);
	json_t *value;

	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	value = json_loads(copy, JSON_DECODE_ANY, NULL);
	if (!value)
		fail_msg("the test's own JSON is wrong: %s", text);
	free(copy);
	return value;
}

static inline struct story *story_of(struct history *history)
{
	return (struct story *)((char *)history - offsetof(struct story, history));
}

static inline struct sites story_sites(struct history *history)
{
	return story_of(history)->sites;
}

/* In order of site, whatever the order in which they were told. */
static inline json_t *story_results(struct history *history, const char *kind, int64_t round)
{
	const struct story *story = story_of(history);
	json_t *found = json_array(), *result;
	size_t i;

	for (size_t site = 0; site < story->sites.count; site++)
		json_array_foreach (story->results, i, result)
			if (!strcmp(json_text_or(result, "site", ""), story->sites.names[site]) &&
				!strcmp(json_text_or(result, "kind", ""), kind) &&
				json_integer_or(result, "round", -1) == round)
				json_array_append(found, result);
	return found;
}

static inline void remember(struct story *story, const struct event *event)
{
	json_array_append_new(
		story->results, json_pack("{s:s, s:s, s:I, s:f, s:O?, s:f, s:O?}", "site", event->site, "kind",
					event->task    ? event->task
					: event->files ? "train"
						       : "evaluate",
					"round", (json_int_t)event->round, "weight", event->weight, "metrics",
					(json_t *)(uintptr_t)event->metrics, "distance", event->distance, "files",
					(json_t *)(uintptr_t)event->files));
}

/* `sites` end with NULL. */
static inline struct story begin(
	const char *workflow, const char *params, const char *initial_model, const char *const *sites)
{
	struct story story = { .workflow = workflow_find(workflow),
		.history = { story_sites, story_results },
		.sites = { .names = sites },
		.results = json_array(),
		.state = json_object(),
		.actions = json_array() };
	json_auto_t *given = from_single_quotes(params), *faults = json_array();

	assert_non_null(story.workflow);
	story.params = fields_apply(story.workflow->params, given, "", faults);
	assert_non_null(story.params);
	story.job = (struct job_view){
		.params = story.params,
		.initial_model = initial_model,
		.seed = 1,
		.workflow = story.workflow,
	};
	while (sites[story.sites.count])
		story.sites.count++;
	return story;
}

static inline void drop(struct event *event)
{
	json_decref((json_t *)(uintptr_t)event->files);
	event->files = NULL;
}

static inline void tell(struct story *story, struct event event)
{
	struct plan plan = { .actions = story->actions };

	if (story->next != json_array_size(story->actions)) {
		scoped(text_free) char *text = json_canonical(json_array_get(story->actions, story->next));

		fail_msg("not expected: %s", text);
	}
	if (event.kind == EVENT_RESULT)
		remember(story, &event);
	story->job.history = &story->history;
	story->workflow->steps[event.kind](&story->job, &event, story->state, &plan);
	assert_false(plan.failed);
	drop(&event);
}

static inline void expect(struct story *story, const char *action)
{
	json_auto_t *wanted = from_single_quotes(action);
	const json_t *planned = json_array_get(story->actions, story->next++);
	scoped(text_free) char *text = planned ? json_canonical(planned) : strdup("nothing");

	if (!json_equal(planned, wanted))
		fail_msg("expected %s but planned %s", action, text);
}

static inline void end(struct story *story)
{
	assert_int_equal(story->next, json_array_size(story->actions));
	json_decref(story->results);
	json_decref(story->params);
	json_decref(story->state);
	json_decref(story->actions);
}

static inline struct event started(void)
{
	return (struct event){ .kind = EVENT_STARTED };
}

/* An event's files: tell() drops them. */
static inline json_t *file_of(const char *name, const char *digest)
{
	return digest ? json_pack("{s:{s:s, s:i}}", name, "digest", digest, "size", 1) : NULL;
}

static inline struct event result(
	const char *site, int64_t round, const char *model, double weight, const json_t *metrics)
{
	return (struct event){ .kind = EVENT_RESULT,
		.site = site,
		.round = round,
		.files = file_of("update", model),
		.weight = weight,
		.metrics = metrics };
}

static inline struct event failed(const char *site, int64_t round)
{
	return (struct event){ .kind = EVENT_TASK_FAILED, .site = site, .round = round, .reason = "out of luck" };
}

static inline struct event aggregated(int64_t round, const char *model)
{
	return (struct event){ .kind = EVENT_AGGREGATED, .round = round, .files = file_of("model", model) };
}

static inline struct event timer(const char *name)
{
	return (struct event){ .kind = EVENT_TIMER, .timer = name };
}

#endif
