/* Tasks under lease: what a site may do with them beside delivering (results.c), and what each does to the job. */
#include "server/engine/report.h"

#include "common/clock.h"
#include "common/failure.h"
#include "common/json.h"
#include "common/text.h"
#include "server/engine/protocol.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/tasks.h"

#include <stdio.h>
#include <string.h>

/* A task that failed rests at its site before it is tried again: half a second, then twice as long each time. */
#define REST_US   (SECOND_US / 2)
#define REST_MOST 6 /* doublings: 32 s */

static int answer_beat(struct report *report, const struct site_standing *standing, struct rounds_error *error)
{
	*report->answer = json_pack("{s:s, s:I}", "state", "leased", "lease_seconds",
		(json_int_t)protocol_lease(standing->protocol, json_integer_or(report->task, "lease_us", 0)));
	if (*report->answer && standing->drains && protocol_tells_draining(standing->protocol))
		json_object_set_new(*report->answer, "draining", json_true());
	return *report->answer ? 0 : error_no_memory(error);
}

/* The task is still the site's to do: open, and the site is not called off. */
static int check_wanted(
	struct report *report, struct store_tx *tx, struct site_standing *standing, struct rounds_error *error)
{
	if (report_find_task(report, tx, error) || report_check_open(report, error) ||
		site_standing(tx, report->site, standing, error))
		return -1;
	return standing->is_called_off
		       ? error_set(error, ERROR_CONFLICT, "the site is drained: what it works on is called off")
		       : 0;
}

/* Most heartbeats bring nothing new: they cost a read. */
static int look(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;
	struct site_standing standing;

	if (check_wanted(report, tx, &standing, error))
		return -1;
	return report_is_news(report) ? 0 : answer_beat(report, &standing, error);
}

static int heartbeat(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;
	const json_t *log = json_object_get(report->body, "log");
	const struct task_progress progress = {
		.stage = report->stage,
		.fraction = report->fraction,
		.metrics = report->metrics,
	};
	struct task_change again = { 0 };
	struct site_standing standing;

	if (check_wanted(report, tx, &standing, error) ||
		(log && keep_log(report->engine, tx, report->task, log, error)))
		return -1;
	/* Its lease had run out, but nobody else has begun: it goes on. */
	again.lease_due = report_lease_end(report);
	if (!strcmp(report_state(report), "pending") &&
		task_move(tx, report->id, "pending", TASK_LEASED, &again, error))
		return -1;
	if (task_extend(tx, report->id, report_lease_end(report), &progress, error) ||
		report_note_left_out(report, tx, error) ||
		tell_progress(report->engine, tx, json_text_or(report->task, "job", ""), error))
		return -1;
	return answer_beat(report, &standing, error);
}

int engine_heartbeat(struct engine *engine, const char *site, const char *task, const json_t *body, json_t **answer,
	struct rounds_error *error)
{
	struct report report = { .engine = engine, .site = site, .id = task, .body = body, .answer = answer };
	struct store *store = engine->options.store;
	int failed = report_read(&report, error) || store_read(store, look, &report, error) ||
		     (!*answer && store_write(store, heartbeat, &report, error));

	heard_at_work(engine, site, task);
	report_free(&report);
	return failed ? -1 : 0;
}

int64_t rest_until(const struct engine *engine, int64_t failures)
{
	int64_t doublings = failures - 1 < REST_MOST ? failures - 1 : REST_MOST;

	return engine_now(engine) + (REST_US << (doublings > 0 ? doublings : 0));
}

int task_failed_in(struct engine *engine, struct store_tx *tx, const json_t *task, const struct task_fault *fault,
	struct rounds_error *error)
{
	const char *id = json_text_or(task, "id", ""), *site = json_text_or(task, "site", "");
	const char *job_id = json_text_or(task, "job", ""), *state = json_text_or(task, "state", "");
	int64_t round = json_integer_or(task, "round", 0), failures = json_integer_or(task, "failures", 0) + 1;
	json_auto_t *job = NULL;
	int64_t most;
	char text[900];
	struct event event = { .kind = EVENT_TASK_FAILED,
		.round = round,
		.task = json_text_or(task, "kind", ""),
		.site = site,
		.reason = fault->reason };
	struct new_event said = { .site = site, .message = text, .round = round, .data = fault->failure };
	struct task_change change = { .failed = true, .reason = fault->reason, .failure = fault->failure };

	if (job_find_at_work(tx, job_id, &job, error))
		return -1;
	most = json_integer_or(json_object_get(job, "spec"), "max_attempts", 3);
	if (!fault->for_good && failures < most) {
		text_print(text, sizeof(text), "%s: try %lld of %lld failed: %s", site, (long long)failures,
			(long long)most, fault->reason);
		said.kind = "task_retry";
		change.not_before = rest_until(engine, failures);
		return task_move(tx, id, state, TASK_PENDING, &change, error) ||
				       note_event(engine, tx, job_id, &said, error) || kick_after(engine, tx, error)
			       ? -1
			       : 0;
	}
	text_print(text, sizeof(text), "%s failed: %s", site, fault->reason);
	said.kind = "task_failed";
	return task_move(tx, id, state, TASK_FAILED, &change, error) ||
			       note_event(engine, tx, job_id, &said, error) ||
			       advance(engine, tx, job_id, &event, error)
		       ? -1
		       : 0;
}

/* What a site reports as a failure, in the words of either protocol. What cannot be read is a failure as well. */
static json_t *read_failure(const json_t *body, char *reason, size_t size, bool *retry)
{
	struct rounds_error error = { 0 };
	struct failure failure;
	const char *words = json_text_or(body, "reason", NULL);

	*retry = json_bool_or(body, "retry", true);
	if (!json_object_get(body, "kind") && words) {
		text_print(reason, size, "%.500s", *words ? words : "no reason given");
		return NULL;
	}
	if (!body || failure_read(body, &failure, &error)) {
		text_print(reason, size, "it failed, and its report of why could not be read%s%s",
			body ? ": it " : "", error.message);
		return NULL;
	}
	*retry = failure.retry;
	failure_sentence(&failure, reason, size);
	return failure_json(&failure);
}

static int fail(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;
	json_auto_t *failure = NULL;
	char reason[800];
	bool retry;
	struct task_fault fault = { .reason = reason };

	if (report_find_task(report, tx, error))
		return -1;
	if (!strcmp(report_state(report), "failed"))
		return 0; /* said twice */
	if (report_check_open(report, error))
		return -1;
	if (!strcmp(report_state(report), "pending"))
		return 0; /* its lease ran out before: that has been counted */
	failure = read_failure(report->body, reason, sizeof(reason), &retry);
	fault.failure = failure;
	fault.for_good = !retry;
	return task_failed_in(report->engine, tx, report->task, &fault, error);
}

int engine_failure(
	struct engine *engine, const char *site, const char *task, const json_t *body, struct rounds_error *error)
{
	struct report report = { .engine = engine, .site = site, .id = task, .body = body };
	int failed = store_write(engine->options.store, fail, &report, error);

	heard_at_work(engine, site, task);
	report_free(&report);
	return failed;
}

static int release(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct report *report = argument;
	const struct task_change change = { .reason = "the site gave it back" };

	if (report_find_task(report, tx, error) || report_check_open(report, error))
		return -1;
	if (!strcmp(report_state(report), "pending"))
		return 0; /* its lease ran out before */
	return task_move(tx, report->id, report_state(report), TASK_PENDING, &change, error) ||
			       note(report->engine, tx, json_text_or(report->task, "job", ""),
				       json_integer_or(report->task, "round", -1), "task_released", report->site,
				       "the site gave its task back", error)
		       ? -1
		       : 0;
}

int engine_release(struct engine *engine, const char *site, const char *task, struct rounds_error *error)
{
	struct report report = { .engine = engine, .site = site, .id = task };
	int failed = store_write(engine->options.store, release, &report, error);

	report_free(&report);
	return failed;
}

void engine_site_gone(struct engine *engine, const char *site)
{
	presence_forget(engine->presence, site);
	wake_polls(engine, site);
	engine_kick(engine);
}
