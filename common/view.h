/*
 * Bytes that lie elsewhere, and where bytes go: what a room gives that keeps files to itself.
 *
 * A view is read-only and stays as it is until it is released, also when what it shows is removed meanwhile. Its pages are the
 * page cache's, not this process's own memory.
 */
#ifndef ROUNDS_COMMON_VIEW_H
#define ROUNDS_COMMON_VIEW_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

struct view {
	const uint8_t *bytes; /* NULL if there are none */
	size_t size;
	/* See view_want; NULL: all bytes are there. */
	int (*want)(const struct view *view, uint64_t from, uint64_t to, struct rounds_error *error);
	void (*release)(struct view view); /* NULL: the view is borrowed */
};

/*
 * Bytes `from` to `to` will be read now: brings them in. Without it they come when they are touched, and where the disk fails
 * the process gets a signal; with it the caller gets ERROR_IO.
 */
must_check int view_want(const struct view *view, uint64_t from, uint64_t to, struct rounds_error *error);
void view_release(struct view view);
DEFINE_CLEANUP(struct view, view_release);
/* The same bytes, for someone who does not release them. */
struct view view_borrow(const struct view *view);

/* A whole file, mapped; the descriptor stays the caller's and may be closed. */
must_check int view_of_file(const char *path, struct view *view, struct rounds_error *error);
must_check int view_of_descriptor(int fd, struct view *view, struct rounds_error *error);

/* Takes bytes at any place, in any order, from several threads at once. */
struct sink {
	int (*put)(void *context, const void *bytes, size_t size, uint64_t at, struct rounds_error *error);
	void *context;
};
must_check int sink_put(
	const struct sink *sink, const void *bytes, size_t size, uint64_t at, struct rounds_error *error);
/* Into a file; *fd must live as long as the sink. */
struct sink sink_of_descriptor(int *fd);

#endif
