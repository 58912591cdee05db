/*
 * Task rows: one per (job, round, kind, site), so that an update counts exactly once. `lease_due` is steady time
 * in microseconds. Rows are new references; a task that is not there is ERROR_NOT_FOUND.
 */
#ifndef ROUNDS_SERVER_STORE_TASKS_H
#define ROUNDS_SERVER_STORE_TASKS_H

#include "server/store/states.h"
#include "server/store/store.h"

#include <stdbool.h>

struct new_task {
	const char *job, *kind, *site;
	const json_t *files;     /* what the site gets (common/artifact.h) */
	const json_t *algorithm; /* what the workflow asks of the trainer; may be NULL */
	int64_t round, lease_us;
};

must_check int task_insert(struct store_tx *tx, const struct new_task *task, struct rounds_error *error);
/* Also with `heard`: whether the site has said since its lease began that it works. */
must_check int task_find(struct store_tx *tx, const char *id, json_t **task, struct rounds_error *error);
must_check int task_list(
	struct store_tx *tx, const char *job, int64_t round, json_t **tasks, struct rounds_error *error);

/* What each site does now: the tasks of the job's present round, and older ones that are open; in short. */
must_check int task_list_now(
	struct store_tx *tx, const char *job, int64_t limit, json_t **tasks, struct rounds_error *error);

/* The first task a site should do next, of running jobs only; *task is NULL if there is none. */
must_check int task_next(struct store_tx *tx, const char *site, json_t **task, struct rounds_error *error);
/* What the site holds a lease on, of running jobs; also with `heard`. */
must_check int task_list_leased(struct store_tx *tx, const char *site, json_t **tasks, struct rounds_error *error);
/* By site the first task that failed since its table is not as the model says, unless it has delivered since. */
must_check int task_list_differing(struct store_tx *tx, const char *job, json_t **tasks, struct rounds_error *error);
/* {"site"}: who made the job's first model; *maker is NULL if it came with the job. */
must_check int task_maker(struct store_tx *tx, const char *job, json_t **maker, struct rounds_error *error);
/* Unfinished tasks of one site. */
must_check int task_list_of_site(struct store_tx *tx, const char *site, json_t **tasks, struct rounds_error *error);
/* Unfinished tasks, of running jobs, at sites that are called off. */
must_check int task_list_called_off(struct store_tx *tx, json_t **tasks, struct rounds_error *error);
/* Unfinished tasks of sites that were removed. */
must_check int task_list_orphaned(struct store_tx *tx, json_t **tasks, struct rounds_error *error);
must_check int task_list_expired(struct store_tx *tx, int64_t now, json_t **tasks, struct rounds_error *error);
must_check int task_list_open(
	struct store_tx *tx, const char *job, int64_t round, json_t **tasks, struct rounds_error *error);
/* What was accepted in a round and had samples, in the order of the sites' names. */
must_check int task_list_inputs(struct store_tx *tx, const char *job, int64_t round, const char *kind, json_t **tasks,
	struct rounds_error *error);
/* The same of one site; *task is NULL if there is none. */
must_check int task_find_input(struct store_tx *tx, const char *job, int64_t round, const char *kind,
	const char *site, json_t **task, struct rounds_error *error);
/* {"site", "weight", "metrics", "result_files", "result"} of all that was accepted in a round, in the order of the sites' names. */
must_check int task_list_results(struct store_tx *tx, const char *job, int64_t round, const char *kind,
	json_t **tasks, struct rounds_error *error);
/*
 * Open tasks of running jobs, or of one job, by job and site: {"id", "job", "round", "kind", "site", "state", "created",
 * "leased", "called_off": whether its site is}.
 */
must_check int task_list_waited(struct store_tx *tx, const char *job, json_t **tasks, struct rounds_error *error);
/* {"id", "site"} of those that have rested until now. */
must_check int task_list_rested(struct store_tx *tx, int64_t now, json_t **tasks, struct rounds_error *error);
must_check int task_end_rest(struct store_tx *tx, const char *id, struct rounds_error *error);
/* When the next lease runs out or a rest is over; INT64_MAX if none does. */
must_check int task_next_due(struct store_tx *tx, int64_t *due, struct rounds_error *error);
/* [{"files"}] of the site's open tasks. */
must_check int task_list_files(struct store_tx *tx, const char *site, json_t **tasks, struct rounds_error *error);

/* What a site says of a task while it works; what is not given (NULL, NaN) stays as it was. */
struct task_progress {
	const char *stage;
	double fraction;
	const json_t *metrics; /* so far; the result's take their place */
};
must_check int task_extend(struct store_tx *tx, const char *id, int64_t due, const struct task_progress *progress,
	struct rounds_error *error);
struct task_result {
	const json_t *files; /* what the site brought (common/artifact.h); NULL if the task makes none */
	double weight;
	const json_t *metrics, *answer;
	const json_t *timings; /* what its time went into, as the site says; may be NULL */
};
/* What a move writes beside the state. */
struct task_change {
	int64_t lease_due;                /* to leased */
	bool failed;                      /* to pending: counts as a failure */
	int64_t not_before;               /* to pending: it rests until then (steady time); 0: it does not */
	const char *reason;               /* to pending, failed and cancelled; may be NULL */
	const json_t *failure;            /* to pending and failed: as the site told it; may be NULL */
	const struct task_result *result; /* to done */
};
/* From the state that the row was read in: ERROR_CONFLICT if the table does not allow it, or the row has moved since. */
must_check int task_move(struct store_tx *tx, const char *id, const char *from, enum task_state to,
	const struct task_change *change, struct rounds_error *error);

/* After the machine has booted anew: every lease is granted again from `now`, and what rested has rested. */
must_check int task_regrant(struct store_tx *tx, int64_t now, struct rounds_error *error);
must_check int task_shift(struct store_tx *tx, const char *job, int64_t by, struct rounds_error *error);
/* [{"state", "count"}] of those that are not over. */
must_check int task_count_open(struct store_tx *tx, json_t **counts, struct rounds_error *error);

#endif
