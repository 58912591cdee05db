#include "server/blobs/writer.h"

#include "common/file.h"

#include <pthread.h>
#include <stdlib.h>

/* So much at a time is written out early. */
enum { WRITE_OUT = 64 << 20 };

struct writer {
	int fd;
	struct digest_stream *stream;
	struct flusher *flusher;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct piece piece; /* its buffer is the spare one while nothing is to be done */
	bool full, closing, failed;
	struct rounds_error error;
};

int piece_write(int fd, struct digest_stream *stream, struct flusher *flusher, const struct piece *piece,
	struct rounds_error *error)
{
	uint64_t end = piece->at + piece->size;

	if (stream)
		digest_stream_add(stream, piece->bytes, piece->size);
	if (file_pwrite_all(fd, piece->bytes, piece->size, piece->at, error))
		return -1;
	if (end % WRITE_OUT == 0)
		flusher_begin(flusher, fd, end - WRITE_OUT, WRITE_OUT);
	return 0;
}

static void *run(void *argument)
{
	struct writer *writer = argument;

	pthread_mutex_lock(&writer->lock);
	while (writer->full || !writer->closing) {
		if (!writer->full) {
			pthread_cond_wait(&writer->changed, &writer->lock);
			continue;
		}
		pthread_mutex_unlock(&writer->lock);
		bool failed = piece_write(
			writer->fd, writer->stream, writer->flusher, &writer->piece, &writer->error);
		pthread_mutex_lock(&writer->lock);
		writer->failed = failed;
		writer->full = false;
		pthread_cond_broadcast(&writer->changed);
	}
	pthread_mutex_unlock(&writer->lock);
	return NULL;
}

struct writer *writer_new(int fd, struct digest_stream *stream, struct flusher *flusher, size_t capacity)
{
	struct writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return NULL;
	writer->fd = fd;
	writer->stream = stream;
	writer->flusher = flusher;
	writer->piece.bytes = malloc(capacity);
	pthread_mutex_init(&writer->lock, NULL);
	pthread_cond_init(&writer->changed, NULL);
	if (writer->piece.bytes && !pthread_create(&writer->thread, NULL, run, writer))
		return writer;
	free(writer->piece.bytes);
	free(writer);
	return NULL;
}

/* Waits until the writer is idle; the lock is held. */
static int settle(struct writer *writer, struct rounds_error *error)
{
	while (writer->full)
		pthread_cond_wait(&writer->changed, &writer->lock);
	if (writer->failed && error)
		*error = writer->error;
	return writer->failed ? -1 : 0;
}

int writer_give(struct writer *writer, struct piece *piece, struct rounds_error *error)
{
	int failed;

	pthread_mutex_lock(&writer->lock);
	failed = settle(writer, error);
	if (!failed) {
		uint8_t *spare = writer->piece.bytes;

		writer->piece = *piece;
		*piece = (struct piece){ spare, 0, piece->at + piece->size };
		writer->full = true;
		pthread_cond_broadcast(&writer->changed);
	}
	pthread_mutex_unlock(&writer->lock);
	return failed;
}

int writer_finish(struct writer *writer, struct rounds_error *error)
{
	int failed;

	pthread_mutex_lock(&writer->lock);
	failed = settle(writer, error);
	pthread_mutex_unlock(&writer->lock);
	return failed;
}

void writer_free(struct writer *writer)
{
	if (!writer)
		return;
	pthread_mutex_lock(&writer->lock);
	writer->closing = true;
	pthread_cond_broadcast(&writer->changed);
	pthread_mutex_unlock(&writer->lock);
	pthread_join(writer->thread, NULL);
	pthread_mutex_destroy(&writer->lock);
	pthread_cond_destroy(&writer->changed);
	free(writer->piece.bytes);
	free(writer);
}
