#include "server/routes/app.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"

#include <stdio.h>

enum { WAIT_DEFAULT = 30, WAIT_LIMIT = 60 };

/* The claim's own memory between the looks of one long poll. */
static int claim_begin(struct request *request, struct app *app, struct claim *claim, struct rounds_error *error)
{
	void **ticket = request_stream(request);

	claim->ticket = (uint64_t)(uintptr_t)*ticket;
	if (claim->ticket)
		return 0;
	if (engine_claim_begin(app->engine, claim, error))
		return -1;
	*ticket = (void *)(uintptr_t)claim->ticket;
	return 0;
}

enum outcome task_claim(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *facts = NULL;
	json_t *task = NULL;
	struct claim claim = { .site = request_caller(request)->name };
	int64_t wait = WAIT_DEFAULT;
	bool in_time = false;
	char key[NOTICE_SIZE];

	if (request_json(request, &facts, &error) ||
		request_query_integer(request, "wait", 0, WAIT_LIMIT, &wait, &error))
		return reply_error(request, &error);
	claim.facts = facts;
	claim.wait_us = wait * SECOND_US;
	if (claim_begin(request, app, &claim, &error))
		return reply_error(request, &error);
	notice_key(TOPIC_SITE, claim.site, key);
	if (wait > 0)
		in_time = request_wait(request, key, wait);
	if (engine_claim(app->engine, &claim, &task, &error))
		return reply_error(request, &error);
	if (!task && in_time && engine_claim_may_wait(app->engine, &claim))
		return WAIT;
	return reply_json(request, 200,
		json_pack("{s:o?, s:o*}", "task", task, "draining", claim.tells_draining ? json_true() : NULL));
}

typedef int report_fn(struct engine *engine, const char *site, const char *task, const json_t *body, json_t **answer,
	struct rounds_error *error);

/* What is no JSON is told to the engine too: a site that cannot say what came of its task would begin it anew for ever. */
static enum outcome report(struct request *request, struct app *app, report_fn *fn)
{
	struct rounds_error error = { 0 }, unreadable;
	json_auto_t *body = NULL;
	json_t *answer = NULL;

	if (request_json(request, &body, &unreadable))
		log_info("a site sent what is no JSON", "site", request_caller(request)->name, "reason",
			unreadable.message, NULL);
	if (fn(app->engine, request_caller(request)->name, request_parameter(request, "task"), body, &answer,
		    &error)) {
		json_decref(answer); /* of what was not committed */
		return reply_error(request, &error);
	}
	return reply_json(request, 200, answer);
}

enum outcome task_heartbeat(struct request *request, void *context)
{
	return report(request, context, engine_heartbeat);
}

enum outcome task_result(struct request *request, void *context)
{
	return report(request, context, engine_result);
}

static int failure(struct engine *engine, const char *site, const char *task, const json_t *body, json_t **answer,
	struct rounds_error *error)
{
	if (engine_failure(engine, site, task, body, error))
		return -1;
	*answer = json_pack("{s:b}", "accepted", 1);
	return *answer ? 0 : error_no_memory(error);
}

enum outcome task_failure(struct request *request, void *context)
{
	return report(request, context, failure);
}

enum outcome task_give_back(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };

	if (engine_release(app->engine, request_caller(request)->name, request_parameter(request, "task"), &error))
		return reply_error(request, &error);
	return reply_empty(request, 204);
}

enum outcome task_leave(struct request *request, void *context)
{
	struct app *app = context;

	engine_site_gone(app->engine, request_caller(request)->name);
	return reply_empty(request, 204);
}
