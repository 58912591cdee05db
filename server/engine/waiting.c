/*
 * Whom jobs wait for. The ticker looks for sites that have fallen silent while a round needs them and says so, by name, in the
 * job's reason and in its events; a person may then go on without one, for that round (skipping.c).
 */
#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/text.h"
#include "server/engine/roster.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <stdio.h>
#include <string.h>

enum { NAMES_IN_WORDS = 10 };

/* A site that works beats every 5 s; one that does not polls, for at most 30 s at a time. */
#define SILENT_AT_WORK_US (15 * SECOND_US)
#define LOOK_US           (2 * SECOND_US)

/* What the task's site does, in a word. */
static const char *doing(struct engine *engine, const json_t *task)
{
	const char *site = json_text_or(task, "site", "");
	bool works = !strcmp(json_text_or(task, "state", ""), "leased");
	int64_t silent = presence_silence(engine->presence, site);

	if (json_bool_or(task, "called_off", false))
		return "draining";
	if (works ? silent > SILENT_AT_WORK_US : silent > PRESENT_US && !presence_has(engine->presence, site))
		return "silent";
	return works ? "working" : "asked";
}

/* {"site", "state", "since"} of an open task; a new reference. */
static json_t *waited_for(struct engine *engine, const json_t *task)
{
	const char *site = json_text_or(task, "site", ""), *state = doing(engine, task);
	const json_t *since = json_object_get(task, !strcmp(state, "working") ? "leased" : "created");
	char text[TIME_TEXT_SIZE];
	int64_t heard = presence_heard(engine->presence, site);

	if (strcmp(state, "silent") != 0)
		return json_pack("{s:s, s:s, s:O?}", "site", site, "state", state, "since", since);
	time_format(heard, text);
	return json_pack("{s:s, s:s, s:s?}", "site", site, "state", state, "since", heard > 0 ? text : NULL);
}

struct asking {
	struct engine *engine;
	const char *job;
	json_t **answer;
};

static int read_queue(struct asking *asking, struct store_tx *tx, const json_t *job, struct rounds_error *error)
{
	json_auto_t *sites = NULL, *roster = NULL;

	if (site_list(tx, &sites, error) ||
		roster_of(asking->engine, tx, json_object_get(job, "spec"), sites, &roster, error))
		return -1;
	*asking->answer = json_pack(
		"{s:n, s:I, s:O}", "round", "least", (json_int_t)job_least_sites(job), "sites", roster);
	return *asking->answer ? 0 : error_no_memory(error);
}

static int read_round(struct asking *asking, struct store_tx *tx, const json_t *job, struct rounds_error *error)
{
	json_auto_t *tasks = NULL, *sites = json_array();
	size_t i;
	json_t *task;

	if (task_list_waited(tx, asking->job, &tasks, error))
		return -1;
	json_array_foreach (tasks, i, task)
		json_array_append_new(sites, waited_for(asking->engine, task));
	*asking->answer = json_pack(
		"{s:O, s:n, s:O}", "round", json_object_get(job, "round"), "least", "sites", sites);
	return *asking->answer ? 0 : error_no_memory(error);
}

static int read_waiting(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct asking *asking = argument;
	json_auto_t *job = NULL;
	const char *state;

	if (job_find(tx, asking->job, &job, error))
		return -1;
	state = json_text_or(job, "state", "");
	if (!strcmp(state, "queued"))
		return read_queue(asking, tx, job, error);
	if (!strcmp(state, "running"))
		return read_round(asking, tx, job, error);
	*asking->answer = json_pack("{s:n, s:n, s:[]}", "round", "least", "sites");
	return *asking->answer ? 0 : error_no_memory(error);
}

int engine_waiting(struct engine *engine, const char *job, json_t **waiting, struct rounds_error *error)
{
	struct asking asking = { engine, job, waiting };

	return store_read(engine->options.store, read_waiting, &asking, error);
}

/* The silent sites of one job, and what was said of them. */
struct silence {
	const char *job;
	int64_t round;
	json_t *sites; /* [{"site", "state", "since"}] */
};

/* "round 3 waits for a (last heard of 2026-01-02T03:04:05Z) and b"; the caller frees. */
static char *silence_reason(const struct silence *silence)
{
	size_t size, i, count = json_array_size(silence->sites);
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);
	json_t *site;

	if (!out)
		return NULL;
	fprintf(out, "round %lld waits for ", (long long)silence->round);
	json_array_foreach (silence->sites, i, site) {
		const char *since = json_text_or(site, "since", NULL);

		if (i == NAMES_IN_WORDS) {
			fprintf(out, " and %zu more", count - i);
			break;
		}
		fprintf(out, "%s%s", i == 0 ? "" : i + 1 == count ? " and " : ", ", json_text_or(site, "site", ""));
		if (since)
			fprintf(out, " (last heard of %.19sZ)", since);
		else
			fputs(" (not heard of since the server started)", out);
	}
	fclose(out);
	return text;
}

/* An event where a site falls silent or is back; `engine->silent` is the ticker's own memory of what it has said. */
static int say_changes(
	struct engine *engine, struct store_tx *tx, const struct silence *silence, struct rounds_error *error)
{
	json_auto_t *before = json_incref(json_object_get(engine->silent, silence->job)), *now = json_object();
	size_t i;
	json_t *site;
	const char *name;

	json_array_foreach (silence->sites, i, site) {
		char text[160];

		name = json_text_or(site, "site", "");
		json_object_set_new(now, name, json_true());
		text_print(text, sizeof(text), "%s is not heard of any more; the round waits for it", name);
		if (!json_object_get(before, name) &&
			note(engine, tx, silence->job, silence->round, "site_silent", name, text, error))
			return -1;
	}
	json_object_foreach (before, name, site) {
		char text[160];

		text_print(text, sizeof(text), "the round waits for %s no more, or it is heard of again", name);
		if (!json_object_get(now, name) &&
			note(engine, tx, silence->job, silence->round, "site_back", name, text, error))
			return -1;
	}
	return json_object_set(engine->silent, silence->job, now) ? error_no_memory(error) : 0;
}

static int say_silence(struct engine *engine, struct store_tx *tx, const json_t *job, const json_t *tasks,
	struct rounds_error *error)
{
	json_auto_t *sites = json_array();
	struct silence silence = { json_text_or(job, "id", ""), json_integer_or(job, "round", 0), sites };
	scoped(text_free) char *reason = NULL;
	size_t i;
	json_t *task;

	json_array_foreach (tasks, i, task)
		if (!strcmp(json_text_or(task, "job", ""), silence.job) && !strcmp(doing(engine, task), "silent"))
			json_array_append_new(sites, waited_for(engine, task));
	reason = json_array_size(sites) ? silence_reason(&silence) : strdup("");
	if (!reason)
		return error_no_memory(error);
	if (!strcmp(reason, json_text_or(job, "reason", "")))
		return 0;
	return job_set_reason(tx, silence.job, *reason ? reason : NULL, error) ||
			       say_changes(engine, tx, &silence, error) || wake_job(engine, tx, silence.job, error)
		       ? -1
		       : 0;
}

/* Jobs that have gone are forgotten. */
static void forget_ended(struct engine *engine, const json_t *jobs)
{
	const char *id;
	json_t *said, *job;
	void *next;
	size_t i;

	json_object_foreach_safe(engine->silent, next, id, said)
	{
		bool runs = false;

		json_array_foreach (jobs, i, job)
			runs = runs || !strcmp(json_text_or(job, "id", ""), id);
		if (!runs)
			json_object_del(engine->silent, id);
	}
}

int watch_silence(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *tasks = NULL, *jobs = NULL;
	int64_t now = engine_now(engine);
	size_t i;
	json_t *job;

	if (now < engine->next_look)
		return 0;
	engine->next_look = now + LOOK_US;
	if (job_list_running(tx, &jobs, error) || task_list_waited(tx, NULL, &tasks, error))
		return -1;
	forget_ended(engine, jobs);
	json_array_foreach (jobs, i, job)
		if (say_silence(engine, tx, job, tasks, error))
			return -1;
	return 0;
}
