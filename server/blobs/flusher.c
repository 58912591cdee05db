#include "server/blobs/flusher.h"

#include "common/file.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { BEHIND = 16 };

struct stretch {
	int fd;
	uint64_t offset, size;
};

struct flusher {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct stretch queue[BEHIND];
	size_t first, count;
	bool closing;
};

static void *run(void *argument)
{
	struct flusher *flusher = argument;

	pthread_mutex_lock(&flusher->lock);
	while (flusher->count > 0 || !flusher->closing) {
		struct stretch next = flusher->queue[flusher->first];

		if (flusher->count == 0) {
			pthread_cond_wait(&flusher->changed, &flusher->lock);
			continue;
		}
		flusher->first = (flusher->first + 1) % BEHIND;
		flusher->count--;
		pthread_mutex_unlock(&flusher->lock);
		(void)sync_file_range(next.fd, (off_t)next.offset, (off_t)next.size, SYNC_FILE_RANGE_WRITE);
		file_close(next.fd);
		pthread_mutex_lock(&flusher->lock);
	}
	pthread_mutex_unlock(&flusher->lock);
	return NULL;
}

struct flusher *flusher_new(void)
{
	struct flusher *flusher = calloc(1, sizeof(*flusher));

	if (!flusher)
		return NULL;
	pthread_mutex_init(&flusher->lock, NULL);
	pthread_cond_init(&flusher->changed, NULL);
	if (!pthread_create(&flusher->thread, NULL, run, flusher))
		return flusher;
	free(flusher);
	return NULL;
}

void flusher_free(struct flusher *flusher)
{
	if (!flusher)
		return;
	pthread_mutex_lock(&flusher->lock);
	flusher->closing = true;
	pthread_cond_signal(&flusher->changed);
	pthread_mutex_unlock(&flusher->lock);
	pthread_join(flusher->thread, NULL);
	pthread_mutex_destroy(&flusher->lock);
	pthread_cond_destroy(&flusher->changed);
	free(flusher);
}

void flusher_begin(struct flusher *flusher, int fd, uint64_t offset, uint64_t size)
{
	int own = flusher ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (own < 0)
		return;
	pthread_mutex_lock(&flusher->lock);
	if (flusher->count < BEHIND) {
		flusher->queue[(flusher->first + flusher->count++) % BEHIND] = (struct stretch){ own, offset, size };
		own = -1;
	}
	pthread_cond_signal(&flusher->changed);
	pthread_mutex_unlock(&flusher->lock);
	file_close(own);
}
