/*
 * The engine runs jobs. It owns their rules: who may do what in which state, leases, timers, the queue, aggregation.
 *
 * Whatever happens is written as one transaction - the event, the workflow's new state and all that it asked for -
 * and only then seen outside. Nothing that matters is in memory: what is (who polls, which transfers move) is found
 * again within a minute of a start.
 *
 * Times are steady microseconds. All functions may be called from any thread and may block on the store.
 */
#ifndef ROUNDS_SERVER_ENGINE_ENGINE_H
#define ROUNDS_SERVER_ENGINE_ENGINE_H

#include "common/error.h"
#include "common/world.h"
#include "server/blobs/blobs.h"
#include "server/engine/notice.h"
#include "server/store/blob_index.h"
#include "server/store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct engine;

struct engine_options {
	struct world *world; /* whose clocks and random bytes it goes by */
	struct store *store;
	struct blobs *blobs;
	/* Tells whoever waits that something changed, by a key of notice.h. Must not block. */
	void (*wake)(void *context, const char *key);
	void *context;
	unsigned threads; /* of an aggregation */
	struct upload_limits {
		uint64_t bytes;       /* of one upload */
		uint64_t owner_bytes; /* of what one owner has announced or brought, and that no job uses yet */
		uint64_t owner_count; /* of these uploads and blobs */
	} uploads;
};

must_check int engine_open(const struct engine_options *options, struct engine **engine, struct rounds_error *error);
/* Starts the threads; before it, nothing moves by itself. */
must_check int engine_start(struct engine *engine, struct rounds_error *error);
/* No task is leased from now on. */
void engine_drain(struct engine *engine);
void engine_close(struct engine *engine);
DEFINE_CLEANUP(struct engine *, engine_close);

/* Since the start; for /metrics. */
struct engine_counters {
	uint64_t aggregations, failures, aggregation_us, aggregation_bytes;
};
void engine_counters(struct engine *engine, struct engine_counters *counters);

/* Jobs. `caller` is a person's or token's name, for the record. */

struct submission {
	const json_t *spec;
	const char *caller;
	const char *key;         /* of idempotency; may be NULL */
	const char *traceparent; /* of whoever asked (W3C Trace Context); may be NULL, what is malformed is ignored */
};
/* *job is the new row, or the first one's if the key was used before. Faults as in fields.h. */
must_check int engine_submit(struct engine *engine, const struct submission *submission, json_t **job, json_t *faults,
	struct rounds_error *error);
/*
 * What a submission of this spec would do, without it: {"valid", "faults": [{"field", "message"}], "warnings": [text],
 * "min_sites_effective", "reason": why it would wait or null, "sites": [{"site", "state", "since", "table"}] (roster.h), "sent":
 * what every site would be told, "spec": with all defaults}. A new reference.
 */
must_check int engine_check_job(
	struct engine *engine, const json_t *spec, json_t **report, struct rounds_error *error);
enum job_command { COMMAND_PAUSE, COMMAND_RESUME, COMMAND_ABORT };
must_check int engine_command(struct engine *engine, const char *job, enum job_command command, const char *caller,
	struct rounds_error *error);
/*
 * Whom a job waits for: {"round", "least", "sites": [{"site", "state", "since"}]}, a new reference. Queued: the roster (roster.h).
 * Running: whoever has an open task of the round: "working" or "asked" since then, "draining" while it is called off, or "silent"
 * since it was last heard of.
 */
must_check int engine_waiting(struct engine *engine, const char *job, json_t **waiting, struct rounds_error *error);
/*
 * What the sites agreed on: {"model", "made_by": the site that made the first model, or null, "schema": {"digest", "features",
 * "categories", "label", "classes"}, each null where the model says nothing of it, "differs": [{"site", "kind", "role", "place",
 * "column", "expected", "found", "what", "since", "round", "ref"}], "lacks": [{"site", "ignore", "categories"}]: which of the columns
 * that the job names a site has none of}; a new reference.
 */
must_check int engine_schema(struct engine *engine, const char *job, json_t **answer, struct rounds_error *error);
/* Goes on without the site in this round; ERROR_CONFLICT if the job does not wait for it. */
must_check int engine_skip(
	struct engine *engine, const char *job, const char *site, const char *caller, struct rounds_error *error);
/*
 * Drains a site, so that it takes part in no new job, or lets it take part again. Drained `now`, it gets no work at all: each round
 * that waits for it goes on without it, and so do later ones. Where a job would fail for that, what the site has of it goes back and
 * the job waits for the site.
 */
struct site_change {
	const char *site, *caller;
	bool drain, now;
	json_t **
		answer; /* the site's row, "skipped": [{"job", "name", "round"}], "waiting": the same with "reason" */
};
must_check int engine_change_site(struct engine *engine, struct site_change *change, struct rounds_error *error);
/*
 * Deletes a job that has ended, and its data: rows are overwritten, the database's log is emptied, weights that nothing else
 * uses are unlinked. *is_gone is false where a backup under way or a long reader keeps some of that for now: the sweep goes on.
 */
must_check int engine_delete(struct engine *engine, const char *job, bool *is_gone, struct rounds_error *error);
/*
 * Asks for a proof of the lineage; *id is filled, with that of the one under way if there is one. Its report appears in the store.
 * ERROR_TOO_MANY if too many wait.
 */
must_check int engine_verify(struct engine *engine, const char *job, char id[37], struct rounds_error *error);

/* Tasks, as a site sees them. Another site's task is ERROR_NOT_FOUND. */

struct claim {
	const char *site;
	const json_t *facts; /* as sent; what they may be is in protocol.c */
	int64_t wait_us;     /* how long it waits for an answer: so long it need not be heard of */
	uint64_t ticket;     /* of this site's newest claim; see engine_claim_begin */
	bool tells_draining; /* engine_claim's answer: whether the site drains and knows the word */
};
/*
 * Notes that the site is there, and makes its older claims void. Where another process with its identity is there already, it
 * is settled in some seconds which of the two lives (presence.h); until then this one waits.
 */
must_check int engine_claim_begin(struct engine *engine, struct claim *claim, struct rounds_error *error);
/*
 * *task is NULL if there is no work now (or the claim is void), else the task under a lease: a new reference. ERROR_CONFLICT if
 * another process with the site's identity is at work.
 */
must_check int engine_claim(struct engine *engine, struct claim *claim, json_t **task, struct rounds_error *error);

/* Whether it makes sense to go on waiting: no newer claim has taken its place. */
bool engine_claim_may_wait(struct engine *engine, const struct claim *claim);

/*
 * What a site reports of its task; a body that is NULL was no JSON object. A report is never refused without an end: what is
 * wrong beside the result is left out and said in the job's events, else the task fails with the reason.
 */
/* Extends the lease; *answer says until when. ERROR_CONFLICT if the task is no longer the site's to do. */
must_check int engine_heartbeat(struct engine *engine, const char *site, const char *task, const json_t *body,
	json_t **answer, struct rounds_error *error);
/* An update counts once; *answer is the first one's for the same digest. */
must_check int engine_result(struct engine *engine, const char *site, const char *task, const json_t *body,
	json_t **answer, struct rounds_error *error);
must_check int engine_failure(
	struct engine *engine, const char *site, const char *task, const json_t *body, struct rounds_error *error);
/* The site gives the task back without fault. */
must_check int engine_release(struct engine *engine, const char *site, const char *task, struct rounds_error *error);

/* Uploads: whose they are is durable, what has arrived of them is in blobs/. Owners are "site:NAME" and "person:NAME". */

/*
 * A new one, if its owner has not too much under way (ERROR_TOO_MANY) and there is room for all that was announced
 * (ERROR_NO_SPACE). One that has come `whole`, within one request, is over before anyone could ask for it and is not recorded.
 */
must_check int engine_upload_new(
	struct engine *engine, const struct new_upload *upload, bool whole, struct rounds_error *error);
/* All bytes have arrived: makes them a blob. With `expected` (may be NULL), ERROR_CHECKSUM, and it is gone, if they differ. */
must_check int engine_upload_complete(
	struct engine *engine, const char *id, const char *owner, const char *expected, struct rounds_error *error);
/* Whatever is there of it. */
must_check int engine_upload_drop(struct engine *engine, const char *id, struct rounds_error *error);
const struct upload_limits *engine_upload_limits(const struct engine *engine);

/* What a site may read: the files that its open tasks name, and nothing else. */
must_check int site_may_read(
	struct store_tx *tx, const char *site, const char *digest, bool *may, struct rounds_error *error);

/* A site has stopped or was removed: it is not there until it claims again. The tasks of one that was removed fail. */
void engine_site_gone(struct engine *engine, const char *site);
bool engine_site_present(struct engine *engine, const char *site);
/* Since when a second process with its identity asks for its work, wall time in microseconds; 0: none does. */
int64_t engine_site_doubled(struct engine *engine, const char *site);
/* Look at the queue soon: a site has come, or has other slots. */
void engine_kick(struct engine *engine);

#endif
