/*
 * Weights on disk, each file named by its SHA-256, and the uploads that become them.
 *
 *     DIR/blobs/ab/cdef...   complete, durable, never changed
 *     DIR/uploads/ID         what has arrived so far of an upload
 *     DIR/scratch/           aggregates being written; emptied at start
 *
 * A blob appears by rename once all of it is written, and is durable before its digest is told to anyone: the index of the
 * store names none that is not. Files and digests of weights stay inside this folder; others name blobs by digest.
 */
#ifndef ROUNDS_SERVER_BLOBS_BLOBS_H
#define ROUNDS_SERVER_BLOBS_BLOBS_H

#include "common/digest.h"
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blobs;

must_check int blobs_open(const char *directory, struct blobs **blobs, struct rounds_error *error);
void blobs_close(struct blobs *blobs);
DEFINE_CLEANUP(struct blobs *, blobs_close);

/* A descriptor of a complete blob, the caller's to close; ERROR_NOT_FOUND if there is none. */
must_check int blob_open(
	struct blobs *blobs, const struct digest *digest, int *fd, uint64_t *size, struct rounds_error *error);

/* Where a complete blob lies, for aggregate/ to map: the caller frees; NULL without memory. */
char *blob_path(struct blobs *blobs, const struct digest *digest);

/* Reads all of it again: ERROR_CHECKSUM if a bit has changed since it was stored. */
must_check int blob_verify(struct blobs *blobs, const struct digest *digest, struct rounds_error *error);

/* A path under scratch/ for a new file: the caller frees, and writes there. */
char *blob_scratch(struct blobs *blobs);

/* Makes a file of scratch/ a blob; its digest is computed here. The file is gone from scratch/ either way. */
must_check int blob_adopt(
	struct blobs *blobs, const char *scratch, struct digest *digest, uint64_t *size, struct rounds_error *error);

/* A blob that is not there is no error. */
void blob_remove(struct blobs *blobs, const struct digest *digest);

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

/* Makes a full upload a durable blob. With `expected`, ERROR_CHECKSUM (and the upload removed) if it differs. */
must_check int upload_complete(struct blobs *blobs, const char *id, const struct digest *expected,
	struct digest *digest, struct rounds_error *error);

/* One that is being written ends with the request that writes. */
void upload_remove(struct blobs *blobs, const char *id);

/* How many are being written right now, and whether this one is. */
int uploads_active(struct blobs *blobs);
bool upload_is_active(struct blobs *blobs, const char *id);

#endif
