/*
 * The rows of the audit log: a chain of records (common/chain) that only grows. The chain's head is read and written in the
 * transaction that appends, so that no two records can have the same place. Triggers refuse to change or delete a row.
 */
#ifndef ROUNDS_SERVER_STORE_AUDIT_LOG_H
#define ROUNDS_SERVER_STORE_AUDIT_LOG_H

#include "common/chain/chain.h"
#include "server/store/store.h"

#include <stdbool.h>

#define AUDIT_CHAIN "audit"

struct audit_row {
	const char *kind, *by, *about, *outcome; /* what lists are filtered by; also in the record; NULL: none */
	const json_t *record;
};
/* *head: after it. */
must_check int audit_log_append(
	struct store_tx *tx, const struct audit_row *row, struct chain_head *head, struct rounds_error *error);
must_check int audit_log_head(struct store_tx *tx, struct chain_head *head, struct rounds_error *error);

struct audit_filter {
	const char *kind; /* "job.delete", or its beginning "job."; NULL: any, as for the others */
	const char *by, *about, *outcome;
	int64_t before, limit; /* entries below this number */
};
/* Newest first: {"n", "link", "record"}. */
must_check int audit_log_list(
	struct store_tx *tx, const struct audit_filter *filter, json_t **entries, struct rounds_error *error);
/* Oldest first, behind entry `after`: {"n", "link", "record": the text that is in the chain}. */
must_check int audit_log_read(
	struct store_tx *tx, int64_t after, int64_t limit, json_t **entries, struct rounds_error *error);
/* Where the chain was after entry n (0: its beginning); ERROR_NOT_FOUND beyond its end. */
must_check int audit_log_link(struct store_tx *tx, int64_t n, struct chain_head *head, struct rounds_error *error);

must_check int audit_log_mark(struct store_tx *tx, const struct checkpoint *checkpoint, struct rounds_error *error);
/* The newest; its length is 0 where there is none. */
must_check int audit_log_last_mark(struct store_tx *tx, struct checkpoint *checkpoint, struct rounds_error *error);

/* What a blob is or was used for, at most five: [{"job", "role", "round"}]. */
must_check int audit_log_uses(struct store_tx *tx, const char *digest, json_t **uses, struct rounds_error *error);

#endif
