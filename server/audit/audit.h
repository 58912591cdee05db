/*
 * The audit log: who did what, from where, on what, and what came of it. It outlives the jobs that it speaks of, and holds
 * neither secrets nor data.
 *
 * Its records are a chain (common/chain/chain.h) in the store. What changes something is recorded in the same transaction;
 * what only reads, before its answer leaves. Refusals change nothing and may be many: alike ones of a minute are one record
 * with a count, written when the minute is over. Every so often, and whenever it is exported, the chain is signed with a key
 * of its own: DIR/audit.key, made at the first start; DIR/audit.pub is for those who verify.
 *
 * A record: {"about": {"kind", "id", "name"} or null, "by": {"name", "role", "credential"} or null, "count"?, "from",
 * "kind", "outcome": "done" | "refused" | "failed", "request", "status", "time", "uses"?}.
 *
 * All functions may be called from any thread.
 */
#ifndef ROUNDS_SERVER_AUDIT_AUDIT_H
#define ROUNDS_SERVER_AUDIT_AUDIT_H

#include "common/chain/chain.h"
#include "common/error.h"
#include "server/store/store.h"

#include <jansson.h>
#include <stdbool.h>

struct audit;

/* Looks whether the chain's end is as it was signed; if it is not, that is said (audit_state) and recording goes on. */
must_check int audit_open(struct store *store, struct world *world, const char *directory, struct audit **audit,
	struct rounds_error *error);
/* What was counted is written first. */
void audit_close(struct audit *audit);
DEFINE_CLEANUP(struct audit *, audit_close);

struct audit_entry {
	const char *kind;                   /* "job.delete" */
	const char *by, *role, *credential; /* who; empty: nobody is known */
	const char *from;                   /* a numeric address; empty: this machine */
	const char *about_kind, *about_id;  /* on what; NULL: what the write says it was about */
	int status;          /* of the answer (HTTP); 0: there was no request. 401, 403 and 429 are refusals */
	const char *request; /* its id; NULL: none */
	int64_t count;       /* so many alike; 0: this one */
};

/* In the transaction of what it records. */
must_check int audit_append(
	struct store_tx *tx, struct audit *audit, const struct audit_entry *entry, struct rounds_error *error);
/* In a transaction of its own. What cannot be written for want of space is counted, and the count is recorded later. */
must_check int audit_record(struct audit *audit, const struct audit_entry *entry, struct rounds_error *error);
/* Counts; never blocks on the store. */
void audit_count(struct audit *audit, const struct audit_entry *entry);
/* Writes what was counted in minutes that are over, and signs now and then: call it every few seconds. */
void audit_tick(struct audit *audit);

/* {"length", "writable", "unrecorded", "fault": text or null, "pending": [{"kind", "by", "status", "count", "since"}]} */
must_check int audit_state(struct audit *audit, json_t **state, struct rounds_error *error);
/* PEM; lives as long as `audit`. */
const char *audit_public_key(const struct audit *audit);

/*
 * The records behind entry `after` as lines of an export, at most `limit`; behind the last one there is its signed checkpoint.
 * The first line is there only with after = 0, so that parts that follow each other are one export. The caller frees *text.
 */
must_check int audit_export(
	struct audit *audit, int64_t after, int64_t limit, char **text, struct rounds_error *error);

#endif
