/* What the engine's files share. */
#ifndef ROUNDS_SERVER_ENGINE_INTERNAL_H
#define ROUNDS_SERVER_ENGINE_INTERNAL_H

#include "server/aggregate/aggregate.h"
#include "server/engine/engine.h"
#include "server/engine/presence.h"
#include "server/engine/workflow.h"
#include "server/store/rounds.h"
#include "server/store/states.h"

#include <pthread.h>

struct engine {
	struct engine_options options;
	struct presence *presence;
	pthread_t ticker, aggregator, prover;
	bool ticker_runs, aggregator_runs, prover_runs;
	pthread_mutex_t lock; /* of the flags below */
	pthread_cond_t tick, aggregate, prove;
	bool stopping, draining, kicked, work_to_aggregate, work_to_prove;
	bool scrub_due; /* rows were deleted whose text still stands in the database's log */
	struct engine_counters counters;
	/* waiting.c, the ticker's alone: {job: {site: true}} that it has said are silent, and when it looks again */
	json_t *silent;
	int64_t next_look;
	int64_t swept; /* when the ticker last looked for blobs that nothing uses */
};

/* engine.c: steady time in the engine's world. */
int64_t engine_now(const struct engine *engine);

/* advance.c: lets the job's workflow see the event and records its plan; a job that has ended ignores it. */
must_check int advance(struct engine *engine, struct store_tx *tx, const char *job, const struct event *event,
	struct rounds_error *error);
/* Ends a job: open tasks are cancelled, timers and slots are freed. */
must_check int job_end(struct engine *engine, struct store_tx *tx, const json_t *job, enum job_state state,
	const char *reason, struct rounds_error *error);
must_check int note(struct engine *engine, struct store_tx *tx, const char *job, int64_t round, const char *kind,
	const char *site, const char *message, struct rounds_error *error);
must_check int note_event(struct engine *engine, struct store_tx *tx, const char *job, const struct new_event *event,
	struct rounds_error *error);
/* Those who wait for the site's work look again now, without a transaction. */
void wake_polls(struct engine *engine, const char *site);
must_check int wake_site(struct engine *engine, struct store_tx *tx, const char *site, struct rounds_error *error);
must_check int wake_job(struct engine *engine, struct store_tx *tx, const char *job, struct rounds_error *error);
/* A site has told how far it is: no event, but worth showing. */
must_check int tell_progress(struct engine *engine, struct store_tx *tx, const char *job, struct rounds_error *error);
/* An `after commit` that sends the ticker to the queue. */
must_check int kick_after(struct engine *engine, struct store_tx *tx, struct rounds_error *error);

/* job_check.c: [text], what is odd about a checked spec in the light of who has joined: a new reference. */
json_t *job_warnings(const json_t *spec, const json_t *sites, const json_t *roster);

/* waiting.c: says which sites have fallen silent while a round waits for them; looks every 2 s, however often it is called. */
must_check int watch_silence(struct engine *engine, struct store_tx *tx, struct rounds_error *error);

/* schema.c */
/* The columns that a spec names in "trainer", under "ignore" or "categories": a new reference. */
json_t *spec_columns(const json_t *spec, const char *member);
/* A site has told with a result which of them it has none of; NULL: it has not. */
must_check int schema_note_lacks(struct engine *engine, struct store_tx *tx, const json_t *job, const json_t *task,
	const json_t *told, struct rounds_error *error);
/* *fault says which of them no site has, once each has told that the round does not go on without; else NULL. The caller frees. */
must_check int schema_fault(
	struct store_tx *tx, const json_t *job, int64_t round, char **fault, struct rounds_error *error);

/* skipping.c: rounds go on without the sites that are called off, as far as they can; the ticker's. */
must_check int skip_called_off(struct engine *engine, struct store_tx *tx, struct rounds_error *error);

/* jobs.c */
must_check int job_pause_in(struct engine *engine, struct store_tx *tx, const json_t *job, const char *reason,
	bool held, struct rounds_error *error);
must_check int job_resume_in(
	struct engine *engine, struct store_tx *tx, const json_t *job, const char *why, struct rounds_error *error);

/* artifacts.c */
/*
 * A task's files as its workflow planned them, {name: digest}, become those of its row, with their sizes; they are kept until
 * no task of the round is open. *files is a new reference.
 */
must_check int files_issue(struct store_tx *tx, const char *job, int64_t round, const json_t *planned, json_t **files,
	struct rounds_error *error);
/* The next file that a result of such a task brings: *at begins with 0; false when there are no more. */
bool output_next(const struct workflow *workflow, const char *task, size_t *at, struct output *output);

/* claim.c */
/* Ends the polls of rivals that have won (presence.h): they claim again. */
void settle_rivals(struct engine *engine);
/* The site has spoken of a task. */
void heard_at_work(struct engine *engine, const char *site, const char *task);

/* tasks.c: the task failed at its site; it is tried again after a rest or has failed for good. */
struct task_fault {
	const char *reason;    /* for people */
	const json_t *failure; /* as the site told it, where it did (common/failure.h); may be NULL */
	bool for_good;         /* no other try */
};
must_check int task_failed_in(struct engine *engine, struct store_tx *tx, const json_t *task,
	const struct task_fault *fault, struct rounds_error *error);

/* Until when a task rests after so many failures (steady time). */
int64_t rest_until(const struct engine *engine, int64_t failures);

/* logs.c: a task's log lines; what is no text, too long or too much for one round is let go. */
must_check int keep_log(struct engine *engine, struct store_tx *tx, const json_t *task, const json_t *lines,
	struct rounds_error *error);

/* scheduler.c: how many sites a queued job waits for. */
size_t job_least_sites(const json_t *job);
/* Starts what can start, and lets sites into running jobs that take late ones. */
must_check int schedule(struct engine *engine, struct store_tx *tx, struct rounds_error *error);

/* aggregation.c */
/* True if there was a round to aggregate, and it is done. */
bool aggregate_once(struct engine *engine, struct rounds_error *error);
void *aggregation_run(void *engine);

/* manifest.c */
/* The round's inputs in order of site with their weights, as a manifest lists them: a new reference. */
must_check int round_inputs(
	struct store_tx *tx, const json_t *job, const json_t *round, json_t **inputs, struct rounds_error *error);
/* What is known before the round's model is made, from its row and that of the round before (may be NULL). */
json_t *manifest_draft(const json_t *round, json_t *inputs, const json_t *previous);
/* Whether the model that the round began with is needed to make its model again. */
bool manifest_needs_model(const json_t *manifest);
/* What the manifest's inputs give. `control` is NULL unless the server's step keeps a state. */
struct recomputed {
	struct draft *model, *control, *aggregate, *second;
	double second_scale; /* what the step is to know of `second` */
	struct outlier
		*outliers; /* one for each input; NULL if not asked for, or if the result is not like a model */
};
void recomputed_free(struct recomputed *made);
/* Every input is proven by its digest first. Whatever it has made is the caller's to free, also what was adopted since. */
must_check int manifest_recompute(struct engine *engine, const json_t *manifest, bool outliers,
	struct recomputed *made, struct rounds_error *error);

/* small.c */
/* Adds the bytes of small files, `data`, to a task as it is told to a site. */
void small_files_add(struct engine *engine, json_t *task);
/*
 * Stores the `data` of a result's file, {"digest", "data"}, as a blob; *draft stays NULL if it came without. It is the caller's to
 * free, once the index knows the blob.
 */
must_check int small_file_take(struct engine *engine, const char *name, const json_t *entry, struct draft **draft,
	struct rounds_error *error);

/* proving.c: one proof after the other, oldest first. */
/* True if one was asked for, and it is done. */
bool prove_once(struct engine *engine);
void *proving_run(void *engine);

/* verify.c */
must_check int verify_job(struct engine *engine, const char *job, json_t **report, struct rounds_error *error);

/* ticker.c */
/* All that time has brought by now; *due: when it brings more, steady time. */
must_check int tick_once(struct engine *engine, int64_t *due, struct rounds_error *error);
void *ticker_run(void *engine);

/* retention.c */
must_check int retain(struct store_tx *tx, const json_t *job, int64_t round, struct rounds_error *error);
/* Enters a blob that has appeared in the index; whoever made it settles it after the commit. */
must_check int blob_add_in(struct store_tx *tx, const struct digest *digest, uint64_t size, const char *owner,
	struct rounds_error *error);
must_check int sweep(struct engine *engine, struct rounds_error *error);
/* A job was deleted: all that it alone had goes now. False if some of it must wait; then the next sweeps see to it. */
bool sweep_now(struct engine *engine);
/* Removes files of blobs that appeared just before the last run was cut: no index names them. */
must_check int blobs_recover(struct engine *engine, struct rounds_error *error);

/* uploads.c: those that an earlier process began go on. */
must_check int uploads_recover(struct engine *engine, struct rounds_error *error);
/* Removes those whose time is up, but for such as are being written just now. */
must_check int uploads_expire(struct engine *engine, struct rounds_error *error);

#endif
