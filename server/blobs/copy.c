/* Blobs of one directory in another, for backups: made beside a server that goes on, or without one. */
#include "server/blobs/layout.h"

#include "common/file.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

static int lock_removal(const char *directory, int how, int *lock, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/removal.lock", directory);

	if (!path)
		return error_no_memory(error);
	*lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*lock < 0)
		return error_errno(error, "cannot open %s", path);
	if (!flock(*lock, how))
		return 0;
	file_close(*lock);
	*lock = -1;
	return error_set(error, ERROR_CONFLICT, "a backup is being made");
}

int blobs_keep_all(const char *directory, int *lock, struct rounds_error *error)
{
	return lock_removal(directory, LOCK_SH, lock, error);
}

int blobs_removal_begin(struct blobs *blobs, int *lock, struct rounds_error *error)
{
	return lock_removal(blobs->directory, LOCK_EX | LOCK_NB, lock, error);
}

static int copy_bytes(int from, int to, struct digest *digest, uint64_t *size, struct rounds_error *error)
{
	scoped(digest_stream_free) struct digest_stream *stream = digest_stream_new();
	scoped(text_free) char *block = malloc(BLOCK);
	ssize_t got;

	if (!stream || !block)
		return error_no_memory(error);
	*size = 0;
	while ((got = read(from, block, BLOCK)) > 0) {
		digest_stream_add(stream, block, (size_t)got);
		if (file_write_all(to, block, (size_t)got, error))
			return -1;
		*size += (uint64_t)got;
	}
	if (got < 0)
		return error_errno(error, "cannot read");
	digest_stream_finish(stream, digest);
	return fsync(to) ? error_errno(error, "cannot make a copy durable") : 0;
}

int blob_copy(
	const char *from, const char *to, const struct digest *digest, uint64_t *size, struct rounds_error *error)
{
	char text[DIGEST_TEXT_SIZE];
	const char *hex = text + 7;
	scoped(text_free) char *source = NULL;
	scoped(text_free) char *folder = text_new("%s/blobs", to);
	scoped(text_free) char *parent = NULL;
	scoped(text_free) char *target = NULL;
	scoped(file_close) int in = -1;
	scoped(file_close) int out = -1;
	struct digest actual;

	digest_format(digest, text);
	source = text_new("%s/blobs/%.2s/%s", from, hex, hex + 2);
	parent = text_new("%s/blobs/%.2s", to, hex);
	target = text_new("%s/blobs/%.2s/%s", to, hex, hex + 2);
	if (!source || !folder || !parent || !target)
		return error_no_memory(error);
	if (directory_make(parent, 0700, error))
		return -1;
	in = open(source, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return error_errno(error, "the weights %s are named but not there", text);
	out = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		return error_errno(error, "cannot create %s", target);
	if (copy_bytes(in, out, &actual, size, error))
		return error_prefix(error, "%s", text);
	if (!digest_equal(&actual, digest))
		return error_set(
			error, ERROR_CHECKSUM, "the stored blob %s has changed on disk: it is not copied", text);
	return directory_sync(parent, error) || directory_sync(folder, error) ? -1 : 0;
}
