/*
 * What workflows keep of their jobs, between the events of one commit: read from its row once, changed in memory by as many writes
 * as share the commit, and written once. A savepoint that is undone undoes it here as in the database.
 */
#ifndef ROUNDS_SERVER_STORE_PROGRESS_H
#define ROUNDS_SERVER_STORE_PROGRESS_H

#include "server/store/store.h"

struct progress; /* one value of one job; those of a transaction are a list, the newest first */

/* The newest of the job in this transaction: borrowed, NULL if there is none. */
const json_t *progress_find(const struct store_tx *tx, const char *job);
/* Shares `value`, which must not change any more. */
must_check int progress_set(struct store_tx *tx, const char *job, json_t *value, struct rounds_error *error);

/* Forgets what came after `mark`, which was the list's beginning once. */
void progress_undo(struct store_tx *tx, const struct progress *mark);
/* No savepoint is open any more: of each job, only the newest is kept. */
void progress_settle(struct store_tx *tx);
/* Writes the newest of each job. */
must_check int progress_write(struct store_tx *tx, struct rounds_error *error);

#endif
