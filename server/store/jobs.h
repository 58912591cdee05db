/*
 * Job rows. `spec` is the checked spec with its defaults, `progress` the workflow's own state; both come back as
 * JSON. Rows are new references; a job that is not there is ERROR_NOT_FOUND.
 */
#ifndef ROUNDS_SERVER_STORE_JOBS_H
#define ROUNDS_SERVER_STORE_JOBS_H

#include "server/store/projects.h"
#include "server/store/states.h"
#include "server/store/store.h"

#include <stdbool.h>

struct job_filter {
	const struct scope *scope;
	const char *state, *project, *site, *text; /* NULL: any; `text` is part of the name */
	const char *sort;  /* "created", "name", "state", "priority", "workflow" or "finished", with '-' downwards */
	const char *after; /* the id with which the last page ended; NULL: from the beginning */
	int64_t limit;
};

struct new_job {
	const char *id, *submitted_by, *idempotency_key; /* the key may be NULL */
	const char *trace;                               /* of whoever submitted it; may be NULL */
	const json_t *spec;
	int64_t rounds;         /* expected, for progress */
	int64_t min_sites;      /* how many sites must be there for it to start */
	const json_t *warnings; /* [text]: what was odd about it when it was submitted */
};

must_check int job_insert(struct store_tx *tx, const struct new_job *job, struct rounds_error *error);
/* The row with its spec. */
must_check int job_find(struct store_tx *tx, const char *id, json_t **job, struct rounds_error *error);
/*
 * The same for what is done with every task: its spec is found without parsing (specs.h), and lacks `sites` and `required_sites`,
 * which grow with the job's sites and would be copied for each of their tasks.
 */
must_check int job_find_at_work(struct store_tx *tx, const char *id, json_t **job, struct rounds_error *error);
/* What its workflow keeps from event to event, to be changed by the caller; an empty object before the first. */
must_check int job_progress(struct store_tx *tx, const char *id, json_t **progress, struct rounds_error *error);
/*
 * [{"site", "lacks": {"ignore": [column], "categories": [column]}}]: which of the columns that the job names a site told that
 * it has not.
 */
must_check int job_lacks(struct store_tx *tx, const char *id, json_t **lacks, struct rounds_error *error);
/* *changed: whether the site had told something else, or nothing. */
must_check int job_set_lacks(struct store_tx *tx, const char *id, const char *site, const json_t *lacks,
	bool *changed, struct rounds_error *error);
/* ERROR_NOT_FOUND unless there is one: what belongs to an unknown job is not an empty list. */
must_check int job_exists(struct store_tx *tx, const char *id, struct rounds_error *error);
/* The row without its spec; *job is NULL if there is none. */
must_check int job_summary(struct store_tx *tx, const char *id, json_t **job, struct rounds_error *error);
/* *job is NULL if that caller has not used the key. */
must_check int job_find_by_key(
	struct store_tx *tx, const char *submitted_by, const char *key, json_t **job, struct rounds_error *error);
/* Newest first if no sort is given; ERROR_INVALID for a sort that is not known. */
must_check int job_list(
	struct store_tx *tx, const struct job_filter *filter, json_t **jobs, struct rounds_error *error);
/* [{"state", "count"}], for /metrics. */
must_check int job_count_by_state(struct store_tx *tx, json_t **counts, struct rounds_error *error);
/* Paused for want of space; completed and never verified, up to 1,000; verified and not sound. */
must_check int job_count_health(
	struct store_tx *tx, int64_t *held, int64_t *unverified, int64_t *broken, struct rounds_error *error);
/* Queued jobs in the order in which they may start. */
must_check int job_list_queued(struct store_tx *tx, json_t **jobs, struct rounds_error *error);
/* Running jobs: {"id", "round", "reason", "takes_late"}. */
must_check int job_list_running(struct store_tx *tx, json_t **jobs, struct rounds_error *error);
/* Jobs that paused by themselves for want of space. */
must_check int job_list_held(struct store_tx *tx, json_t **jobs, struct rounds_error *error);

/* What a move writes beside the state. */
struct job_change {
	const char *reason; /* may be NULL */
	int64_t paused_at;  /* to paused: steady time */
	bool held;          /* to paused: goes on by itself once there is space */
};
/* From the state that the row was read in: ERROR_CONFLICT if the table does not allow it, or the row has moved since. */
must_check int job_move(struct store_tx *tx, const char *id, const char *from, enum job_state to,
	const struct job_change *change, struct rounds_error *error);
/* Why a queued job has not started yet; the version stays. */
must_check int job_set_reason(struct store_tx *tx, const char *id, const char *reason, struct rounds_error *error);
/* After the machine has booted anew, `paused_at` counts from `now`. */
must_check int job_regrant(struct store_tx *tx, int64_t now, struct rounds_error *error);
/* Shares `progress`, which must not change any more; it is written with the commit (progress.h). */
must_check int job_set_progress(struct store_tx *tx, const char *id, json_t *progress, struct rounds_error *error);
must_check int job_set_round(struct store_tx *tx, const char *id, int64_t round, struct rounds_error *error);
must_check int job_expect_rounds(struct store_tx *tx, const char *id, int64_t rounds, struct rounds_error *error);
must_check int job_set_model(struct store_tx *tx, const char *id, const char *model, struct rounds_error *error);
must_check int job_set_best(
	struct store_tx *tx, const char *id, const char *model, int64_t round, struct rounds_error *error);
/* ERROR_PRECONDITION unless the version is still `version` (-1: any). */
must_check int job_edit(struct store_tx *tx, const char *id, int64_t version, const char *name, int64_t priority,
	struct rounds_error *error);
must_check int job_delete(struct store_tx *tx, const char *id, struct rounds_error *error);

/* The sites of a running job, whose slots it takes. */
must_check int job_take_site(struct store_tx *tx, const char *id, const char *site, struct rounds_error *error);
must_check int job_free_sites(struct store_tx *tx, const char *id, struct rounds_error *error);
must_check int job_sites(struct store_tx *tx, const char *id, json_t **sites, struct rounds_error *error);
/* {"job"} of each job that takes a slot of the site. */
must_check int job_list_at_site(struct store_tx *tx, const char *site, json_t **jobs, struct rounds_error *error);

#endif
