/*
 * Weights on disk, each file named by its SHA-256, and the uploads that become them.
 *
 *     DIR/blobs/ab/cdef...   complete, durable, never changed
 *     DIR/uploads/ID         what has arrived so far of an upload
 *     DIR/scratch/           drafts; emptied at start
 *     DIR/removed/           blobs without a name, to be unlinked
 *
 * A blob appears by rename once all of it is written, and is durable before its digest is told to anyone: the index of the
 * store names none that is not. The other way round it goes: the index dooms it, then its file goes, then the index forgets it.
 * What is appearing is settled by whoever enters it in the index, and is not removed before.
 *
 * No path and no descriptor leaves this folder: others name blobs by digest, hold views and write drafts.
 */
#ifndef ROUNDS_SERVER_BLOBS_BLOBS_H
#define ROUNDS_SERVER_BLOBS_BLOBS_H

#include "common/digest.h"
#include "common/error.h"
#include "common/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blobs;

must_check int blobs_open(const char *directory, struct blobs **blobs, struct rounds_error *error);
void blobs_close(struct blobs *blobs);
DEFINE_CLEANUP(struct blobs *, blobs_close);

/* Shows a complete blob, until the view is released; ERROR_NOT_FOUND if there is none. */
must_check int blob_hold(
	struct blobs *blobs, const struct digest *digest, struct view *view, struct rounds_error *error);
bool blob_is_there(struct blobs *blobs, const struct digest *digest);

/* Reads all of it again: ERROR_CHECKSUM if a bit has changed since it was stored. */
must_check int blob_verify(struct blobs *blobs, const struct digest *digest, struct rounds_error *error);

/* A blob in the making, which nobody else sees. */
struct draft;

must_check int draft_new(struct blobs *blobs, struct draft **draft, struct rounds_error *error);
/* What was not adopted is gone; what was is settled. NULL is fine. */
void draft_free(struct draft *draft);
DEFINE_CLEANUP(struct draft *, draft_free);
/* Where its bytes go; borrowed. */
const struct sink *draft_sink(const struct draft *draft);
/* What has been written so far, also after it was adopted. */
must_check int draft_view(const struct draft *draft, struct view *view, struct rounds_error *error);
must_check int draft_digest(const struct draft *draft, struct digest *digest, struct rounds_error *error);
/* Makes it a durable blob, to be settled. */
must_check int draft_adopt(struct draft *draft, struct digest *digest, uint64_t *size, struct rounds_error *error);

/* The index has been told of a blob that appeared, or will not be: from now on it may be removed. */
void blob_settle(struct blobs *blobs, const struct digest *digest);

/*
 * Takes a blob's name away, which is quick; blobs_empty gives back the space, which may take long. False if the same blob is
 * appearing again just now: then it stays. One that is not there is no error.
 */
bool blob_remove(struct blobs *blobs, const struct digest *digest);
void blobs_empty(struct blobs *blobs);

/*
 * A backup copies what an index names, from another process: while it holds this lock (to be closed), nothing is removed. Whoever
 * removes holds the other side, and does not wait: ERROR_CONFLICT, and it tries another time.
 */
must_check int blobs_keep_all(const char *directory, int *lock, struct rounds_error *error);
must_check int blobs_removal_begin(struct blobs *blobs, int *lock, struct rounds_error *error);
/* Copies a blob from one data directory to another, durably; ERROR_CHECKSUM if it is not what its name says. */
must_check int blob_copy(
	const char *from, const char *to, const struct digest *digest, uint64_t *size, struct rounds_error *error);

/* Calls `keep` for each blob that is there; those for which it returns 0 are removed, -1 ends it. */
must_check int blobs_review(struct blobs *blobs,
	int (*keep)(void *context, const struct digest *digest, struct rounds_error *error), void *context,
	struct rounds_error *error);

/* Bytes free for new blobs. */
uint64_t blobs_space(struct blobs *blobs);

/*
 * An upload: at most one request writes to it at a time. Between its requests it holds a name in memory and a file, but no
 * descriptor: how many there may be is for its owner's limits to say, not for this process's.
 */
struct upload;

struct upload_facts {
	const char *id, *owner;
	uint64_t length;
	bool is_complete; /* has become a blob; known until it is removed, for a client that did not get the answer */
};
must_check int upload_create(struct blobs *blobs, const struct upload_facts *facts, struct rounds_error *error);
/* One that an earlier process began: it goes on where its file ends. One whose file is gone stays unknown. */
must_check int upload_find_again(struct blobs *blobs, const struct upload_facts *facts, struct rounds_error *error);
/* After these, at start: removes files that belong to no upload, of requests that the server's end has cut. */
must_check int uploads_clear(struct blobs *blobs, struct rounds_error *error);

/* How much of it is stored; ERROR_NOT_FOUND if there is no such upload. */
must_check int upload_offset(struct blobs *blobs, const char *id, uint64_t *offset, struct rounds_error *error);

/* Bytes that uploads have announced and that have not arrived: of all, and of this owner. */
void uploads_promised(struct blobs *blobs, const char *owner, uint64_t *all, uint64_t *own);

/*
 * Begins writing at `offset`, which must be where the last writer stopped. ERROR_NOT_FOUND if it is not this owner's (NULL:
 * anyone's), ERROR_CONFLICT if the offset is another, if one writes, or if it is complete.
 */
must_check int upload_begin(struct blobs *blobs, const char *id, const char *owner, uint64_t offset,
	struct upload **upload, struct rounds_error *error);

/* What this writer adds must have this digest (tus checksum: "sha1" or "sha256" and its bytes). */
must_check int upload_expect(
	struct upload *upload, const char *algorithm, const uint8_t *sum, size_t size, struct rounds_error *error);

/* ERROR_TOO_LARGE beyond the length. Waits for the page cache, or for a writer beside it. */
must_check int upload_write(struct upload *upload, const void *bytes, size_t size, struct rounds_error *error);

/*
 * Ends writing; what arrived stays unless an expected sum does not match (ERROR_CHECKSUM) or the upload was removed meanwhile
 * (ERROR_NOT_FOUND). The upload may not be used again, whatever came of it.
 */
must_check int upload_end(struct upload *upload, uint64_t *offset, struct rounds_error *error);

/* Makes a full upload a durable blob, to be settled. With `expected`, ERROR_CHECKSUM (and the upload removed) if it differs. */
must_check int upload_complete(struct blobs *blobs, const char *id, const struct digest *expected,
	struct digest *digest, struct rounds_error *error);

/* One that is being written ends with the request that writes. */
void upload_remove(struct blobs *blobs, const char *id);

/* How many are being written right now, and whether this one is. */
int uploads_active(struct blobs *blobs);
bool upload_is_active(struct blobs *blobs, const char *id);

#endif
