/* How a site gets work. */
#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/json.h"
#include "server/engine/protocol.h"
#include "server/engine/site_keys.h"
#include "server/engine/trace.h"
#include "server/store/blob_index.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <stdio.h>
#include <string.h>

/* So many times an answer with a task may be lost on its way before the lease counts as a try that failed. */
enum { LOST_ANSWERS = 5 };

/* The claim with its facts checked and completed: what the files below need. */
struct claiming {
	struct engine *engine;
	struct claim *claim;
	json_t *facts, *known; /* known: the site's row */
	json_t *task, *job;    /* rows */
	json_t **answer;
};

static int read_site(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct claiming *claiming = argument;

	return site_find(tx, claiming->claim->site, &claiming->known, error);
}

static int write_site(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct claiming *claiming = argument;

	return site_describe(tx, claiming->claim->site, claiming->facts, error);
}

static int write_keys(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct claiming *claiming = argument;

	return site_keys_learn(tx, claiming->claim->site, json_object_get(claiming->facts, "keys"), error);
}

static bool same_facts(const json_t *known, const json_t *facts)
{
	static const char *const names[] = { "protocol", "version", "slots", "datasets", "executors", "tables" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!json_equal(json_object_get(known, names[i]), json_object_get(facts, names[i])))
			return false;
	return true;
}

void wake_polls(struct engine *engine, const char *site)
{
	char key[NOTICE_SIZE];

	notice_key(TOPIC_SITE, site, key);
	engine->options.wake(engine->options.context, key);
}

int engine_claim_begin(struct engine *engine, struct claim *claim, struct rounds_error *error)
{
	json_auto_t *facts = NULL, *known = NULL;
	struct claiming claiming = { .engine = engine, .claim = claim };
	struct arrival arrival = { .site = claim->site, .wait_us = claim->wait_us };

	if (protocol_claim(claim->facts, &facts, error))
		return -1;
	claiming.facts = facts;
	if (store_read(engine->options.store, read_site, &claiming, error))
		return -1;
	known = claiming.known;
	if (!site_keys_are_known(known, facts) && store_write(engine->options.store, write_keys, &claiming, error))
		return -1;
	arrival.instance = json_text_or(facts, "instance", NULL);
	arrival.holding = json_object_get(facts, "holding");
	if (!presence_claim(engine->presence, &arrival))
		return error_no_memory(error);
	claim->ticket = arrival.ticket;
	if (arrival.wakes)
		wake_polls(engine, claim->site);
	if (arrival.is_rival || (!arrival.is_new && same_facts(known, facts)))
		return 0;
	if (store_write(engine->options.store, write_site, &claiming, error))
		return -1;
	engine_kick(engine);
	return 0;
}

static void wake_settled(void *engine, const char *site)
{
	wake_polls(engine, site);
}

void settle_rivals(struct engine *engine)
{
	presence_settle(engine->presence, wake_settled, engine);
}

void heard_at_work(struct engine *engine, const char *site, const char *task)
{
	if (presence_touch(engine->presence, site, task))
		wake_polls(engine, site);
}

static bool holds(const struct claim *claim, const json_t *task)
{
	size_t i;
	json_t *id;

	json_array_foreach (json_object_get(claim->facts, "holding"), i, id)
		if (json_equal(id, json_object_get(task, "id")))
			return true;
	return false;
}

/* A lease that the site does not know of: its answer was lost, or the site has started anew. It comes first. */
static int find_task(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct claiming *claiming = argument;
	struct claim *claim = claiming->claim;
	struct site_standing standing;
	json_auto_t *leased = NULL;
	size_t i;
	json_t *task;

	if (site_standing(tx, claim->site, &standing, error))
		return -1;
	claim->tells_draining = standing.drains && protocol_tells_draining(standing.protocol);
	if (standing.is_called_off)
		return 0;
	if (task_list_leased(tx, claim->site, &leased, error))
		return -1;
	json_array_foreach (leased, i, task) {
		if (holds(claim, task))
			continue;
		claiming->task = json_incref(task);
		return 0;
	}
	if (task_next(tx, claim->site, &claiming->task, error))
		return -1;
	/* One that it still works on though its lease ran out: its heartbeat takes it up again. */
	if (claiming->task && holds(claim, claiming->task)) {
		json_decref(claiming->task);
		claiming->task = NULL;
	}
	return 0;
}

static json_t *task_document(const struct claiming *claiming)
{
	int64_t protocol = json_integer_or(claiming->claim->facts, "protocol", 0);
	const json_t *task = claiming->task;
	json_t *document = protocol_task(protocol, task, claiming->job);
	char traceparent[TRACEPARENT_SIZE];

	trace_of_task(json_text_or(claiming->job, "trace", ""), json_text_or(task, "id", ""), traceparent);
	json_object_set_new(document, "traceparent", json_string(traceparent));
	return document;
}

/*
 * The site holds a lease that it does not know of. Where it has worked under it, that was a try: it was killed, or dropped
 * what it had. Else the answer was lost on its way, and it gets the task again: at once the first time, then after a rest.
 */
static int lose(struct claiming *claiming, struct store_tx *tx, bool *again, struct rounds_error *error)
{
	const json_t *task = claiming->task;
	int64_t attempts = json_integer_or(task, "attempts", 1);
	const struct task_fault fault = { .reason = "the site has begun anew and no longer knows of this task" };
	const struct task_change change = { .reason = fault.reason,
		.not_before = rest_until(claiming->engine, attempts - 1) };

	*again = false;
	if (json_integer_or(task, "heard", 0) || attempts >= LOST_ANSWERS)
		return task_failed_in(claiming->engine, tx, task, &fault, error);
	*again = attempts == 1;
	if (*again)
		return 0;
	return task_move(tx, json_text_or(task, "id", ""), "leased", TASK_PENDING, &change, error) ||
			       kick_after(claiming->engine, tx, error)
		       ? -1
		       : 0;
}

static int lease(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	bool again = true;
	struct claiming *claiming = argument;
	struct task_change change = { 0 };
	const char *id;
	int64_t round;
	char text[120];

	json_decref(claiming->task);
	claiming->task = NULL;
	if (find_task(tx, claiming, error))
		return -1;
	if (!claiming->task)
		return 0;
	if (!strcmp(json_text_or(claiming->task, "state", ""), "leased") && lose(claiming, tx, &again, error))
		return -1;
	if (!again)
		return 0;
	id = json_text_or(claiming->task, "id", "");
	round = json_integer_or(claiming->task, "round", 0);
	snprintf(text, sizeof(text), "%s begins (%s)", claiming->claim->site,
		json_text_or(claiming->task, "kind", ""));
	change.lease_due = engine_now(claiming->engine) + json_integer_or(claiming->task, "lease_us", 0);
	if (job_find_at_work(tx, json_text_or(claiming->task, "job", ""), &claiming->job, error) ||
		task_move(tx, id, json_text_or(claiming->task, "state", ""), TASK_LEASED, &change, error) ||
		note(claiming->engine, tx, json_text_or(claiming->job, "id", ""), round, "task_leased",
			claiming->claim->site, text, error))
		return -1;
	*claiming->answer = task_document(claiming);
	return *claiming->answer ? 0 : error_no_memory(error);
}

/* Whether there may be work for this claim now. */
static int check_standing(struct engine *engine, const struct claim *claim, bool *seated, struct rounds_error *error)
{
	enum standing standing = presence_standing(engine->presence, claim->site, claim->ticket);

	*seated = standing == STANDING_SEATED;
	if (standing != STANDING_REFUSED)
		return 0;
	return error_set(error, ERROR_CONFLICT,
		"another program with the identity of %s is at work; stop one of the two, or join with a name of its own",
		claim->site);
}

int engine_claim(struct engine *engine, struct claim *claim, json_t **task, struct rounds_error *error)
{
	struct claiming claiming = { .engine = engine, .claim = claim, .answer = task };
	bool draining, seated;
	int failed;

	*task = NULL;
	if (check_standing(engine, claim, &seated, error))
		return -1;
	pthread_mutex_lock(&engine->lock);
	draining = engine->draining;
	pthread_mutex_unlock(&engine->lock);
	if (draining || !seated)
		return 0;
	/* Most looks find nothing: they cost a read. */
	failed = store_read(engine->options.store, find_task, &claiming, error);
	if (!failed && claiming.task)
		failed = store_write(engine->options.store, lease, &claiming, error);
	if (!failed && *task)
		small_files_add(engine, *task);
	if (failed) { /* of what was not committed */
		json_decref(*task);
		*task = NULL;
	}
	json_decref(claiming.task);
	json_decref(claiming.job);
	return failed;
}

bool engine_claim_may_wait(struct engine *engine, const struct claim *claim)
{
	enum standing standing = presence_standing(engine->presence, claim->site, claim->ticket);

	return standing == STANDING_SEATED || standing == STANDING_WAITING;
}
