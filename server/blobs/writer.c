#include "server/blobs/writer.h"

#include "common/file.h"

#include <pthread.h>
#include <stdlib.h>

/* So much at a time is written out early. */
enum { WRITE_OUT = 64 << 20 };

/* Pieces under way: while one is worked on, the next one may wait. */
enum { DEPTH = 2 };

/* What is done with each piece, by a thread each: both read the same bytes at the same time. */
enum part { HASH, WRITE, PARTS };

struct helper {
	struct writer *writer;
	enum part part;
	pthread_t thread;
};

struct writer {
	int fd;
	struct digest_stream *stream;
	struct flusher *flusher;
	struct helper helpers[PARTS];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct piece ring[DEPTH]; /* of which `given - done` are in use; the buffers of the others are spare */
	size_t given, done[PARTS];
	bool closing, failed;
	struct rounds_error error;
};

static int write_part(int fd, struct flusher *flusher, const struct piece *piece, struct rounds_error *error)
{
	uint64_t end = piece->at + piece->size;

	if (file_pwrite_all(fd, piece->bytes, piece->size, piece->at, error))
		return -1;
	if (end % WRITE_OUT == 0)
		flusher_begin(flusher, fd, end - WRITE_OUT, WRITE_OUT);
	return 0;
}

int piece_write(int fd, struct digest_stream *stream, struct flusher *flusher, const struct piece *piece,
	struct rounds_error *error)
{
	if (stream)
		digest_stream_add(stream, piece->bytes, piece->size);
	return write_part(fd, flusher, piece, error);
}

static void *run(void *argument)
{
	struct helper *helper = argument;
	struct writer *writer = helper->writer;
	size_t *done = &writer->done[helper->part];

	pthread_mutex_lock(&writer->lock);
	while (*done < writer->given || !writer->closing) {
		const struct piece *piece = &writer->ring[*done % DEPTH];
		bool failed = writer->failed;

		if (*done == writer->given) {
			pthread_cond_wait(&writer->changed, &writer->lock);
			continue;
		}
		pthread_mutex_unlock(&writer->lock);
		if (helper->part == WRITE && !failed)
			failed = write_part(writer->fd, writer->flusher, piece, &writer->error);
		if (helper->part == HASH && writer->stream)
			digest_stream_add(writer->stream, piece->bytes, piece->size);
		pthread_mutex_lock(&writer->lock);
		writer->failed |= failed;
		(*done)++;
		pthread_cond_broadcast(&writer->changed);
	}
	pthread_mutex_unlock(&writer->lock);
	return NULL;
}

/* Ends the first `count` helpers, after what they still have to do, and the writer. */
static void end(struct writer *writer, size_t count)
{
	pthread_mutex_lock(&writer->lock);
	writer->closing = true;
	pthread_cond_broadcast(&writer->changed);
	pthread_mutex_unlock(&writer->lock);
	while (count-- > 0)
		pthread_join(writer->helpers[count].thread, NULL);
	pthread_mutex_destroy(&writer->lock);
	pthread_cond_destroy(&writer->changed);
	for (size_t i = 0; i < DEPTH; i++)
		free(writer->ring[i].bytes);
	free(writer);
}

struct writer *writer_new(int fd, struct digest_stream *stream, struct flusher *flusher, size_t capacity)
{
	struct writer *writer = calloc(1, sizeof(*writer));
	bool whole = true;

	if (!writer)
		return NULL;
	writer->fd = fd;
	writer->stream = stream;
	writer->flusher = flusher;
	for (size_t i = 0; i < DEPTH; i++)
		whole &= (writer->ring[i].bytes = malloc(capacity)) != NULL;
	pthread_mutex_init(&writer->lock, NULL);
	pthread_cond_init(&writer->changed, NULL);
	for (size_t i = 0; i < PARTS; i++) {
		struct helper *helper = &writer->helpers[i];

		*helper = (struct helper){ .writer = writer, .part = (enum part)i };
		if (!whole || pthread_create(&helper->thread, NULL, run, helper)) {
			end(writer, i);
			return NULL;
		}
	}
	return writer;
}

/* Waits until at most `most` pieces are under way; the lock is held. */
static int settle(struct writer *writer, size_t most, struct rounds_error *error)
{
	while (writer->given - writer->done[HASH] > most || writer->given - writer->done[WRITE] > most)
		pthread_cond_wait(&writer->changed, &writer->lock);
	if (writer->failed && error)
		*error = writer->error;
	return writer->failed ? -1 : 0;
}

int writer_give(struct writer *writer, struct piece *piece, struct rounds_error *error)
{
	int failed;

	pthread_mutex_lock(&writer->lock);
	failed = settle(writer, DEPTH - 1, error);
	if (!failed) {
		struct piece *place = &writer->ring[writer->given++ % DEPTH];
		uint8_t *spare = place->bytes;

		*place = *piece;
		*piece = (struct piece){ spare, 0, piece->at + piece->size };
		pthread_cond_broadcast(&writer->changed);
	}
	pthread_mutex_unlock(&writer->lock);
	return failed;
}

int writer_finish(struct writer *writer, struct rounds_error *error)
{
	int failed;

	pthread_mutex_lock(&writer->lock);
	failed = settle(writer, 0, error);
	pthread_mutex_unlock(&writer->lock);
	return failed;
}

void writer_free(struct writer *writer)
{
	if (writer)
		end(writer, PARTS);
}
