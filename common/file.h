/* Files: whole ones, durable ones, directories. Paths are plain C strings; descriptors are close-on-exec. */
#ifndef ROUNDS_COMMON_FILE_H
#define ROUNDS_COMMON_FILE_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Closes a descriptor that is not negative; for scoped(file_close) int fd = -1; */
void file_close(int fd);
DEFINE_CLEANUP(int, file_close);

/* The whole file with a NUL behind it, at most `limit` bytes; *text is the caller's. */
must_check int file_read(const char *path, size_t limit, char **text, size_t *size, struct rounds_error *error);

/* All of it, however the kernel splits it. */
must_check int file_write_all(int fd, const void *bytes, size_t size, struct rounds_error *error);
must_check int file_pwrite_all(int fd, const void *bytes, size_t size, uint64_t offset, struct rounds_error *error);

/* Old or new, never a mix: writes a neighbour, syncs it, renames it over `path`, syncs the directory. */
must_check int file_replace(
	const char *path, const void *bytes, size_t size, mode_t mode, struct rounds_error *error);

/* The same without waiting for the disk: whole for other processes, but a loss of power may tear it. */
must_check int file_put(const char *path, const void *bytes, size_t size, mode_t mode, struct rounds_error *error);

/* Makes renames and new names in a directory durable. */
must_check int directory_sync(const char *path, struct rounds_error *error);

/* Like mkdir -p; directories that exist are left as they are. */
must_check int directory_make(const char *path, mode_t mode, struct rounds_error *error);

/* Takes from group and others what they may do with a directory and with what lies in it; what lies deeper is then out of reach. */
must_check int directory_keep_private(const char *path, struct rounds_error *error);

/* Like rm -r, without following links; a directory that is not there is no error. */
void directory_remove(const char *path);

/* An exclusive lock on `path`, made if needed, held while the returned descriptor is open; -1 if another holds it. */
must_check int file_lock(const char *path, struct rounds_error *error);

#endif
