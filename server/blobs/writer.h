/*
 * Hashes and writes the pieces of one upload, in order, beside the thread that receives them: one thread hashes while another
 * writes and the next piece arrives and is decrypted. A writer holds two pieces at most, so whoever is faster waits for the others.
 */
#ifndef ROUNDS_SERVER_BLOBS_WRITER_H
#define ROUNDS_SERVER_BLOBS_WRITER_H

#include "common/digest.h"
#include "server/blobs/flusher.h"

struct piece {
	uint8_t *bytes;
	size_t size;
	uint64_t at; /* in the file */
};

/* What a writer does with each piece; also without one. `stream` and `flusher` may be NULL. */
must_check int piece_write(int fd, struct digest_stream *stream, struct flusher *flusher, const struct piece *piece,
	struct rounds_error *error);

struct writer;

/*
 * `fd`, `stream` and `flusher` stay the caller's, who leaves them alone until the writer is freed; pieces have at most `capacity`
 * bytes. NULL if there is no memory or there are no threads to be had.
 */
struct writer *writer_new(int fd, struct digest_stream *stream, struct flusher *flusher, size_t capacity);

/* Takes the piece and its buffer, and leaves an empty buffer in its place. Fails if an earlier piece could not be written. */
must_check int writer_give(struct writer *writer, struct piece *piece, struct rounds_error *error);

/* Waits until all is written. Fails if some of it was not: then nothing after it was written either. */
must_check int writer_finish(struct writer *writer, struct rounds_error *error);

/* After what it was given; NULL is fine. */
void writer_free(struct writer *writer);

#endif
