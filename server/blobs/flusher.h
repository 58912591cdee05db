/*
 * Tells the kernel to begin writing files out, so that the fsync at an upload's end finds little left to do. That call waits
 * where the disk's queue is full, so it is made by a thread of its own, and left out where that one is behind.
 */
#ifndef ROUNDS_SERVER_BLOBS_FLUSHER_H
#define ROUNDS_SERVER_BLOBS_FLUSHER_H

#include <stdint.h>

struct flusher;

/* NULL without memory or a thread: then nothing is begun early. */
struct flusher *flusher_new(void);
/* After what it was given; NULL is fine. */
void flusher_free(struct flusher *flusher);

/* `size` bytes of the file from `offset`. Keeps a descriptor of its own; never waits. NULL is fine. */
void flusher_begin(struct flusher *flusher, int fd, uint64_t offset, uint64_t size);

#endif
