/* Which blobs there are, what needs them, and the uploads under way. A blob that no row needs is swept. */
#ifndef ROUNDS_SERVER_STORE_BLOB_INDEX_H
#define ROUNDS_SERVER_STORE_BLOB_INDEX_H

#include "server/store/store.h"

#include <stdbool.h>

must_check int blob_index_add(
	struct store_tx *tx, const char *digest, uint64_t size, const char *owner, struct rounds_error *error);
/* *blob is NULL if there is none, or it is doomed. */
must_check int blob_index_find(struct store_tx *tx, const char *digest, json_t **blob, struct rounds_error *error);
/* ERROR_BLOB_MISSING if there is none, or it is doomed. */
must_check int blob_index_need(struct store_tx *tx, const char *digest, struct rounds_error *error);
/* Also one that is doomed. */
must_check int blob_index_knows(struct store_tx *tx, const char *digest, bool *known, struct rounds_error *error);
/* Whether this caller uploaded those bytes. */
must_check int blob_index_owned(
	struct store_tx *tx, const char *digest, const char *owner, bool *owned, struct rounds_error *error);

/* [{"digest"}, ...]: all that are not doomed. */
must_check int blob_index_list(struct store_tx *tx, json_t **blobs, struct rounds_error *error);

/*
 * A use: `role` is "initial", "model", "control" (the state of the server's step), "best", "update" (what a result brought) or
 * "task" (what an open task names).
 */
must_check int blob_use(struct store_tx *tx, const char *job, const char *digest, const char *role, int64_t round,
	struct rounds_error *error);
must_check int blob_unuse(
	struct store_tx *tx, const char *job, const char *role, int64_t before_round, struct rounds_error *error);
/* The uses "task" of rounds that have no open task any more. */
must_check int blob_unuse_tasks(struct store_tx *tx, const char *job, struct rounds_error *error);
/* Those that make up the job's models: all but "update" and "task". */
must_check int blob_uses(struct store_tx *tx, const char *job, json_t **uses, struct rounds_error *error);
/*
 * Dooms blobs that nothing uses any more; those that nothing has used yet only if they are older than `before_us` (wall
 * time), or `people_before_us` where a person uploaded them. To add one again revives it.
 */
must_check int blob_index_doom(
	struct store_tx *tx, int64_t before_us, int64_t people_before_us, struct rounds_error *error);
/* [{"digest"}, ...], some hundreds at a time. */
must_check int blob_index_doomed(struct store_tx *tx, json_t **blobs, struct rounds_error *error);
/* One whose file is gone, if it is still doomed. */
must_check int blob_index_forget(struct store_tx *tx, const char *digest, struct rounds_error *error);

struct new_upload {
	const char *id, *owner, *digest; /* `digest` may be NULL */
	uint64_t length;
	const char *metadata; /* as it came, to be given back; may be NULL */
	int64_t expires_us;
};
must_check int upload_insert(struct store_tx *tx, const struct new_upload *upload, struct rounds_error *error);
/* ERROR_NOT_FOUND for one that is not there or belongs to another. */
must_check int upload_find(
	struct store_tx *tx, const char *id, const char *owner, json_t **upload, struct rounds_error *error);
/* Its row stays for ten minutes, for a client that did not get the answer. */
must_check int upload_finish(struct store_tx *tx, const char *id, const char *blob, struct rounds_error *error);
must_check int upload_delete(struct store_tx *tx, const char *id, struct rounds_error *error);
must_check int upload_list_expired(struct store_tx *tx, json_t **uploads, struct rounds_error *error);
/* All rows: {"id", "owner", "length", "blob"}. */
must_check int upload_list(struct store_tx *tx, json_t **uploads, struct rounds_error *error);

/*
 * What an owner has brought that nothing uses yet: uploads that are not complete, with the bytes that they announced, and
 * blobs that no job has named. With an owner it is one row, without (NULL) one for each owner who has any:
 * {"owner", "uploads", "announced_bytes", "unused_blobs", "unused_bytes"}.
 */
must_check int owner_loads(struct store_tx *tx, const char *owner, json_t **loads, struct rounds_error *error);

#endif
