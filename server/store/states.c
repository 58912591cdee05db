#include "server/store/states.h"

#include "server/store/db.h"

#include <string.h>

#define MAY(state) (1u << (state))
#define FINAL      0u

/* A job that waits or runs may be aborted, or fail, at any time. */
#define JOB_ENDS (MAY(JOB_FAILED) | MAY(JOB_ABORTED))

static const struct state job_states[JOB_STATES] = {
	[JOB_SUBMITTED] = { "submitted", MAY(JOB_QUEUED) | JOB_ENDS },
	[JOB_QUEUED] = { "queued", MAY(JOB_RUNNING) | JOB_ENDS },
	[JOB_RUNNING] = { "running", MAY(JOB_PAUSED) | MAY(JOB_COMPLETED) | JOB_ENDS },
	/* What was under way when it was paused comes in, and may have been the last that it waited for. */
	[JOB_PAUSED] = { "paused", MAY(JOB_RUNNING) | MAY(JOB_COMPLETED) | JOB_ENDS },
	[JOB_COMPLETED] = { "completed", FINAL },
	[JOB_FAILED] = { "failed", FINAL },
	[JOB_ABORTED] = { "aborted", FINAL },
};

/*
 * From pending to done: a site delivers what it had trained before its lease ran out. From leased to leased: the site does
 * not know of its lease, since the answer was lost or it has started anew.
 */
static const struct state task_states[TASK_STATES] = {
	[TASK_PENDING] = { "pending", MAY(TASK_LEASED) | MAY(TASK_DONE) | MAY(TASK_FAILED) | MAY(TASK_CANCELLED) },
	[TASK_LEASED] = { "leased",
		MAY(TASK_LEASED) | MAY(TASK_PENDING) | MAY(TASK_DONE) | MAY(TASK_FAILED) | MAY(TASK_CANCELLED) },
	[TASK_DONE] = { "done", FINAL },
	[TASK_FAILED] = { "failed", FINAL },
	[TASK_CANCELLED] = { "cancelled", FINAL },
};

static const struct state round_states[ROUND_STATES] = {
	[ROUND_COLLECTING] = { "collecting", MAY(ROUND_AGGREGATING) | MAY(ROUND_DONE) },
	[ROUND_AGGREGATING] = { "aggregating", MAY(ROUND_DONE) },
	[ROUND_DONE] = { "done", FINAL },
};

const struct machine job_machine = { "job", job_states, JOB_STATES };
const struct machine task_machine = { "task", task_states, TASK_STATES };
const struct machine round_machine = { "round", round_states, ROUND_STATES };

int state_find(const struct machine *machine, const char *name)
{
	for (int i = 0; i < machine->count; i++)
		if (name && !strcmp(machine->states[i].name, name))
			return i;
	return -1;
}

int state_check(const struct machine *machine, const char *from, int to, struct rounds_error *error)
{
	int at = state_find(machine, from);

	if (at >= 0 && (machine->states[at].next & MAY(to)))
		return 0;
	return error_set(error, ERROR_CONFLICT, "the %s is %s; it cannot become %s", machine->noun, from,
		machine->states[to].name);
}

int state_moved(
	const struct store_tx *tx, const struct machine *machine, const char *from, struct rounds_error *error)
{
	if (db_changes(tx) == 1)
		return 0;
	return error_set(error, ERROR_CONFLICT, "the %s is no longer %s", machine->noun, from);
}

bool state_is_final(const struct machine *machine, const char *name)
{
	int at = state_find(machine, name);

	return at >= 0 && machine->states[at].next == FINAL;
}
