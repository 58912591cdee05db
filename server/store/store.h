/*
 * The store: SQLite in WAL mode with synchronous=FULL, one write after the other, readers beside it.
 *
 * A write is a function that runs inside a transaction, as if it were alone: what it has read is so until its commit. Writes that
 * wait at the same time share one commit (and so one fsync), which one of those who wait makes for all; each has its own
 * savepoint, so that one that fails undoes itself alone. store_write returns when the commit is durable. What the outside may
 * only see after that goes into store_after_commit.
 *
 * SQL and sqlite3.h stay inside this folder.
 */
#ifndef ROUNDS_SERVER_STORE_STORE_H
#define ROUNDS_SERVER_STORE_STORE_H

#include "common/error.h"
#include "common/world.h"

#include <jansson.h>
#include <stdint.h>

struct store;
struct store_tx; /* an open transaction; borrowed for the call */

typedef int store_fn(struct store_tx *tx, void *argument, struct rounds_error *error);

/* Opens or makes `path` and migrates it forward in one transaction, or refuses untouched. `world` says what time it is. */
must_check int store_open(const char *path, struct world *world, struct store **store, struct rounds_error *error);
void store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close);

/* The database at `path` as it is at one moment, in a new file, durably; a server may go on writing. No row that was deleted is in it. */
must_check int store_copy(const char *path, const char *to, struct rounds_error *error);

/* Runs fn, on whatever thread is writing, and waits for the commit. `argument` need only live as long as the call. */
must_check int store_write(struct store *store, store_fn *fn, void *argument, struct rounds_error *error);

/* Runs fn here and now on a reading connection: a consistent snapshot. */
must_check int store_read(struct store *store, store_fn *fn, void *argument, struct rounds_error *error);

/* Runs fn inside the transaction of `tx`, in a savepoint of its own: if it fails, only what it did is undone. */
must_check int store_nested(struct store_tx *tx, store_fn *fn, void *argument, struct rounds_error *error);

/*
 * What stands beside every write that this thread asks for, until it is told otherwise, in the write's transaction: `before`
 * runs ahead of it, so that whoever asks is looked at where nothing can come between the look and the deed; `after` runs once
 * it has succeeded, so that what is said of it is there with it or not at all. Each may be NULL, and each may refuse the write.
 */
struct store_witness {
	store_fn *before, *after;
	void *argument;
};
/* NULL: none. Borrowed until then. */
void store_attend(const struct store_witness *witness);

/*
 * What a write was about: the job, the token, the account that it made. Said by this folder where the row is made, for
 * whoever witnesses the write; a later word takes the place of an earlier one.
 */
struct store_subject {
	char kind[16], id[64], name[80]; /* all empty: nothing was said */
};
void store_about(struct store_tx *tx, const char *kind, const char *id, const char *name);
const struct store_subject *store_subject(const struct store_tx *tx);

/*
 * What was deleted is overwritten in the database's file at once, and stands in its log until that is emptied: this empties it.
 * ERROR_UNAVAILABLE while something reads for long.
 */
must_check int store_scrub(struct store *store, struct rounds_error *error);

/* Called once the transaction is durable, on the thread that made it so; not at all if it fails. Must not block, nor write. */
must_check int store_after_commit(struct store_tx *tx, void (*fn)(void *context, const char *key), void *context,
	const char *key, struct rounds_error *error);

/* For /metrics and the bench. */
struct store_counters {
	uint64_t commits, writes, commit_us;
};
void store_counters(struct store *store, struct store_counters *counters);

#endif
