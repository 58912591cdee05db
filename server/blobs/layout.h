/* What blobs.c and uploads.c share: the folder, the uploads under way, and what appears. */
#ifndef ROUNDS_SERVER_BLOBS_LAYOUT_H
#define ROUNDS_SERVER_BLOBS_LAYOUT_H

#include "server/blobs/blobs.h"
#include "server/blobs/flusher.h"

#include <pthread.h>
#include <sys/queue.h>

struct blobs {
	char *directory;
	struct flusher *flusher;
	pthread_mutex_t lock; /* of what is below */
	LIST_HEAD(, upload) uploads;
	LIST_HEAD(, appearing) appearing;
	int active; /* uploads that a request has taken */
};

/* A blob that has appeared and of which the index does not know yet; the same may appear twice at once. */
struct appearing {
	LIST_ENTRY(appearing) place;
	struct digest digest;
};

/* The caller frees; NULL without memory. */
char *layout_path(struct blobs *blobs, const char *folder, const char *name);

/* Renames a whole file to its digest's name, durably; to be settled unless it fails. */
must_check int layout_publish(
	struct blobs *blobs, const char *from, int fd, const struct digest *digest, struct rounds_error *error);

void uploads_forget(struct blobs *blobs);

#endif
