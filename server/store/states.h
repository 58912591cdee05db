/*
 * The states of jobs, tasks and rounds, and the moves that each allows. A row moves only by job_move, task_move and
 * round_move: they look here whether the move is allowed, and set the new state only where the row still has the old one.
 */
#ifndef ROUNDS_SERVER_STORE_STATES_H
#define ROUNDS_SERVER_STORE_STATES_H

#include "server/store/store.h"

#include <stdbool.h>

enum job_state {
	JOB_SUBMITTED,
	JOB_QUEUED,
	JOB_RUNNING,
	JOB_PAUSED,
	JOB_COMPLETED,
	JOB_FAILED,
	JOB_ABORTED,
	JOB_STATES
};
enum task_state { TASK_PENDING, TASK_LEASED, TASK_DONE, TASK_FAILED, TASK_CANCELLED, TASK_STATES };
enum round_state { ROUND_COLLECTING, ROUND_AGGREGATING, ROUND_DONE, ROUND_STATES };

struct state {
	const char *name;
	unsigned next; /* a bit for each state that may follow */
};

struct machine {
	const char *noun;
	const struct state *states;
	int count;
};

extern const struct machine job_machine, task_machine, round_machine;

/* The state of that name, or -1. */
int state_find(const struct machine *machine, const char *name);

/* ERROR_CONFLICT, in words for people, if the move is not allowed. */
must_check int state_check(const struct machine *machine, const char *from, int to, struct rounds_error *error);

/* After the statement that compared and set: ERROR_CONFLICT if no row was in the state `from`. */
must_check int state_moved(
	const struct store_tx *tx, const struct machine *machine, const char *from, struct rounds_error *error);

/* Nothing follows it. */
bool state_is_final(const struct machine *machine, const char *name);

#endif
