/* Round rows, the timers of jobs, their events and their metrics: what a job's history is made of. */
#ifndef ROUNDS_SERVER_STORE_ROUNDS_H
#define ROUNDS_SERVER_STORE_ROUNDS_H

#include "server/store/projects.h"
#include "server/store/states.h"
#include "server/store/store.h"

#include <stdbool.h>

/* Rounds. `number` 0 stands for the initial model. */
must_check int round_begin(
	struct store_tx *tx, const char *job, int64_t number, const char *model_in, struct rounds_error *error);
/* What a move writes beside the state. */
struct round_change {
	const json_t *how;      /* to aggregating: the plan's action, with method, params, weights, step */
	const char *kind;       /* to aggregating: of the tasks whose results are the inputs */
	const char *model;      /* to done: digest of the aggregate */
	const json_t *manifest; /* to done: what it was made of */
	const char *manifest_digest;
};
/* From the state that the row was read in: ERROR_CONFLICT if the table does not allow it, or the row has moved since. */
must_check int round_move(struct store_tx *tx, const char *job, int64_t number, const char *from, enum round_state to,
	const struct round_change *change, struct rounds_error *error);
must_check int round_find(
	struct store_tx *tx, const char *job, int64_t number, json_t **round, struct rounds_error *error);
must_check int round_list(struct store_tx *tx, const char *job, int64_t after, int64_t limit, json_t **rounds,
	struct rounds_error *error);
/* The last round before `number` that has a manifest; *round is NULL if there is none. */
must_check int round_before(
	struct store_tx *tx, const char *job, int64_t number, json_t **round, struct rounds_error *error);
/* A round of a running job that waits to be aggregated; *round is NULL if there is none. */
must_check int round_next_to_aggregate(struct store_tx *tx, json_t **round, struct rounds_error *error);

/* Timers, in steady time. */
must_check int timer_set(struct store_tx *tx, const char *job, const char *name, int64_t after_us, int64_t now,
	struct rounds_error *error);
must_check int timer_clear(
	struct store_tx *tx, const char *job, const char *name, struct rounds_error *error); /* NULL: all */
must_check int timer_list_due(struct store_tx *tx, int64_t now, json_t **timers, struct rounds_error *error);
must_check int timer_next(struct store_tx *tx, int64_t *due, struct rounds_error *error); /* INT64_MAX: none */
must_check int timer_regrant(struct store_tx *tx, int64_t now, struct rounds_error *error);
must_check int timer_shift(struct store_tx *tx, const char *job, int64_t by, struct rounds_error *error);

/* Events: what a person would want to know about a job, in order. */
struct new_event {
	const char *kind, *site, *message; /* `site` may be NULL */
	int64_t round;                     /* -1: none */
	const json_t *data;                /* may be NULL */
};
must_check int event_add(
	struct store_tx *tx, const char *job, const struct new_event *event, struct rounds_error *error);
/* An event of the kind "metric_missing", unless the job has one with these words. */
must_check int event_metric_missing(
	struct store_tx *tx, const char *job, const struct new_event *event, struct rounds_error *error);
/* How many lines of the kind "log" a site has in a round. */
must_check int event_count_log(struct store_tx *tx, const char *job, int64_t round, const char *site, int64_t *count,
	struct rounds_error *error);
must_check int event_list(struct store_tx *tx, const char *job, int64_t after, int64_t limit, json_t **events,
	struct rounds_error *error);

/* Metrics: `round` is the model's that was measured; `site` is empty for the whole; NaN is stored as missing. */
/* The same of all jobs (`job` NULL) in a scope or of one, each with its job and project; and the number of the last one there is. */
must_check int event_list_all(struct store_tx *tx, const struct scope *scope, const char *job, int64_t after,
	int64_t limit, json_t **events, struct rounds_error *error);
must_check int event_last(struct store_tx *tx, int64_t *id, struct rounds_error *error);
/* The newest of all jobs in a scope first, without the routine of their rounds. */
must_check int event_list_newest(struct store_tx *tx, const struct scope *scope, int64_t before, int64_t limit,
	json_t **events, struct rounds_error *error);

must_check int metric_set(struct store_tx *tx, const char *job, int64_t round, const char *site, const char *name,
	double value, struct rounds_error *error);
must_check int metric_list(struct store_tx *tx, const char *job, const char *name, const char *site, json_t **metrics,
	struct rounds_error *error);

/* Forgets tasks, rounds, events and metrics of rounds before `first`, but for the initial and the best. */
must_check int history_trim(struct store_tx *tx, const char *job, int64_t first, struct rounds_error *error);

/* A pending or finished proof of a job's lineage. */
must_check int verification_insert(struct store_tx *tx, const char *id, const char *job, struct rounds_error *error);
must_check int verification_finish(
	struct store_tx *tx, const char *id, const json_t *report, struct rounds_error *error);
must_check int verification_find(
	struct store_tx *tx, const char *job, const char *id, json_t **verification, struct rounds_error *error);
/* {"id", "job"} of those that are asked for and not answered, the oldest first. */
must_check int verification_list_running(struct store_tx *tx, json_t **verifications, struct rounds_error *error);

/* Named facts about this database, such as the boot in which its steady times hold; *changed: it had another value. */
must_check int setting_swap(
	struct store_tx *tx, const char *name, const char *value, bool *changed, struct rounds_error *error);

#endif
