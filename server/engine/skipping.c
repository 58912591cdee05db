/*
 * Rounds that go on without a site, since a person said so: without one task of it, or without all that it has while it is
 * called off. A workflow sees the task fail without blame, and may have no other way to go on.
 */
#include "server/engine/internal.h"

#include "common/json.h"
#include "common/text.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/tasks.h"

#include <string.h>

struct skipping {
	struct engine *engine;
	const char *job, *site, *why; /* why: "skipped by ann" */
	const json_t *task;           /* the row of the one that nobody waits for any more */
};

/* The round goes on without the task, as if the site had failed, but without blame. */
static int skip_task(struct skipping *skipping, struct store_tx *tx, struct rounds_error *error)
{
	const json_t *task = skipping->task;
	int64_t round = json_integer_or(task, "round", 0);
	char text[260];
	struct event event = { .kind = EVENT_TASK_FAILED,
		.round = round,
		.task = json_text_or(task, "kind", ""),
		.site = skipping->site,
		.reason = skipping->why,
		.is_skipped = true };
	const struct task_change change = { .reason = skipping->why };

	text_print(text, sizeof(text), "the round goes on without %s: %s", skipping->site, skipping->why);
	return task_move(tx, json_text_or(task, "id", ""), json_text_or(task, "state", ""), TASK_CANCELLED, &change,
		       error) ||
			       note(skipping->engine, tx, skipping->job, round, "site_skipped", skipping->site, text,
				       error) ||
			       advance(skipping->engine, tx, skipping->job, &event, error)
		       ? -1
		       : 0;
}

static int skip(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct skipping *skipping = argument;
	json_auto_t *job = NULL, *tasks = NULL;
	size_t i;
	json_t *task;

	if (job_find_at_work(tx, skipping->job, &job, error))
		return -1;
	if (strcmp(json_text_or(job, "state", ""), "running") != 0)
		return error_set(
			error, ERROR_CONFLICT, "the job is %s; it waits for no site", json_text_or(job, "state", ""));
	if (task_list_waited(tx, skipping->job, &tasks, error))
		return -1;
	json_array_foreach (tasks, i, task) {
		skipping->task = task;
		if (!strcmp(json_text_or(task, "site", ""), skipping->site))
			return skip_task(skipping, tx, error);
	}
	return error_set(error, ERROR_CONFLICT, "the job does not wait for %.64s now", skipping->site);
}

int engine_skip(
	struct engine *engine, const char *job, const char *site, const char *caller, struct rounds_error *error)
{
	char why[160];
	struct skipping skipping = { engine, job, site, why, NULL };

	text_print(why, sizeof(why), "skipped by %s", caller);
	return store_write(engine->options.store, skip, &skipping, error);
}

/* For a nested transaction: a job that fails for it is left as it was. ERROR_CONFLICT says why it cannot do without. */
static int skip_unless_fatal(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct skipping *skipping = argument;
	json_auto_t *job = NULL;

	if (skip_task(skipping, tx, error) || job_find_at_work(tx, skipping->job, &job, error))
		return -1;
	if (strcmp(json_text_or(job, "state", ""), "failed") != 0)
		return 0;
	return error_set(error, ERROR_CONFLICT, "%s", json_text_or(job, "reason", ""));
}

/* What cannot be skipped goes back, and the job waits for the site until it takes part again, or is aborted. */
static int give_back(struct skipping *skipping, struct store_tx *tx, const char *why, struct rounds_error *error)
{
	const struct task_change change = { .reason = "its site is drained" };
	const json_t *task = skipping->task;
	char text[700];

	text_print(text, sizeof(text), "%s was %s, and the job waits for it; without it: %s", skipping->site,
		skipping->why, why);
	if (!strcmp(json_text_or(task, "state", ""), "leased") &&
		task_move(tx, json_text_or(task, "id", ""), "leased", TASK_PENDING, &change, error))
		return -1;
	return note(skipping->engine, tx, skipping->job, json_integer_or(task, "round", -1), "task_released",
		skipping->site, text, error);
}

struct calling_off {
	struct engine *engine;
	struct site_change *change;
	json_t *skipped, *waiting; /* [{"job", "name", "round"}], the latter with "reason" */
};

static int call_off(struct calling_off *calling, struct store_tx *tx, const json_t *task, struct rounds_error *error)
{
	char drained[160];
	struct skipping skipping = { calling->engine, json_text_or(task, "job", ""), calling->change->site, drained,
		task };
	struct rounds_error why = { 0 };
	json_auto_t *job = NULL, *entry = NULL;

	text_print(drained, sizeof(drained), "drained by %s", calling->change->caller);
	if (job_find_at_work(tx, skipping.job, &job, error))
		return -1;
	entry = json_pack("{s:s, s:O, s:O}", "job", skipping.job, "name", json_object_get(job, "name"), "round",
		json_object_get(task, "round"));
	if (!entry)
		return error_no_memory(error);
	if (!store_nested(tx, skip_unless_fatal, &skipping, &why))
		return json_array_append(calling->skipped, entry);
	if (why.kind != ERROR_CONFLICT) {
		*error = why;
		return -1;
	}
	json_object_set_new(entry, "reason", json_text(why.message));
	return json_array_append(calling->waiting, entry) || give_back(&skipping, tx, why.message, error) ? -1 : 0;
}

/* The one may have ended the other. */
static int call_off_all(struct calling_off *calling, struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *tasks = NULL;
	size_t i;
	json_t *task;

	if (task_list_of_site(tx, calling->change->site, &tasks, error))
		return -1;
	json_array_foreach (tasks, i, task) {
		json_auto_t *now = NULL;

		if (task_find(tx, json_text_or(task, "id", ""), &now, error))
			return -1;
		if (!state_is_final(&task_machine, json_text_or(now, "state", "")) &&
			call_off(calling, tx, now, error))
			return -1;
	}
	return 0;
}

static int change_site(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct calling_off *calling = argument;
	const struct site_change *change = calling->change;
	json_auto_t *before = NULL, *after = NULL;

	if (site_find(tx, change->site, &before, error))
		return -1;
	if (!strcmp(json_text_or(before, "state", ""), "removed"))
		return error_set(error, ERROR_CONFLICT, "the site was removed; invite it again");
	if (site_set_state(tx, change->site, change->drain ? "draining" : "active", change->now, error) ||
		(change->now && call_off_all(calling, tx, error)) || site_find(tx, change->site, &after, error) ||
		wake_site(calling->engine, tx, change->site, error) || kick_after(calling->engine, tx, error))
		return -1;
	json_object_set(after, "skipped", calling->skipped);
	json_object_set(after, "waiting", calling->waiting);
	*change->answer = json_incref(after);
	return 0;
}

int engine_change_site(struct engine *engine, struct site_change *change, struct rounds_error *error)
{
	json_auto_t *skipped = json_array(), *waiting = json_array();
	struct calling_off calling = { engine, change, skipped, waiting };

	return store_write(engine->options.store, change_site, &calling, error);
}

int skip_called_off(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *tasks = NULL;
	size_t i;
	json_t *task;

	if (task_list_called_off(tx, &tasks, error))
		return -1;
	json_array_foreach (tasks, i, task) {
		json_auto_t *now = NULL;
		struct rounds_error why = { 0 };
		struct skipping skipping = { engine, json_text_or(task, "job", ""), json_text_or(task, "site", ""),
			"drained" };

		if (task_find(tx, json_text_or(task, "id", ""), &now, error))
			return -1;
		skipping.task = now;
		if (!state_is_final(&task_machine, json_text_or(now, "state", "")) &&
			store_nested(tx, skip_unless_fatal, &skipping, &why) && why.kind != ERROR_CONFLICT) {
			*error = why;
			return -1;
		}
	}
	return 0;
}
