#include "server/blobs/blobs.h"

#include "common/file.h"
#include "common/text.h"
#include "common/uuid.h"
#include "server/blobs/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

char *layout_path(struct blobs *blobs, const char *folder, const char *name)
{
	return text_new("%s/%s/%s", blobs->directory, folder, name);
}

int blobs_open(const char *directory, struct blobs **out, struct rounds_error *error)
{
	static const char *const folders[] = { "blobs", "uploads", "scratch" };
	scoped(blobs_close) struct blobs *blobs = calloc(1, sizeof(*blobs));

	if (!blobs || !(blobs->directory = strdup(directory)))
		return error_no_memory(error);
	pthread_mutex_init(&blobs->lock, NULL);
	blobs->flusher = flusher_new();
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		scoped(text_free) char *path = layout_path(blobs, folders[i], "");

		if (!path)
			return error_no_memory(error);
		if (!strcmp(folders[i], "scratch"))
			directory_remove(path);
		if (directory_make(path, 0700, error))
			return -1;
	}
	*out = blobs;
	blobs = NULL;
	return 0;
}

void blobs_close(struct blobs *blobs)
{
	if (!blobs)
		return;
	uploads_forget(blobs);
	flusher_free(blobs->flusher);
	pthread_mutex_destroy(&blobs->lock);
	free(blobs->directory);
	free(blobs);
}

char *blob_path(struct blobs *blobs, const struct digest *digest)
{
	char text[DIGEST_TEXT_SIZE];
	const char *hex = text + 7;

	digest_format(digest, text);
	return text_new("%s/blobs/%.2s/%s", blobs->directory, hex, hex + 2);
}

int blob_open(struct blobs *blobs, const struct digest *digest, int *fd, uint64_t *size, struct rounds_error *error)
{
	scoped(text_free) char *path = blob_path(blobs, digest);
	struct stat status;
	int opened;

	if (!path)
		return error_no_memory(error);
	opened = open(path, O_RDONLY | O_CLOEXEC);
	if (opened < 0 && errno == ENOENT)
		return error_set(error, ERROR_NOT_FOUND, "there is no such blob");
	if (opened < 0 || fstat(opened, &status)) {
		file_close(opened);
		return error_errno(error, "cannot open a blob");
	}
	*fd = opened;
	*size = (uint64_t)status.st_size;
	return 0;
}

int blob_verify(struct blobs *blobs, const struct digest *digest, struct rounds_error *error)
{
	scoped(file_close) int fd = -1;
	uint64_t size;
	struct digest actual;
	char text[DIGEST_TEXT_SIZE];

	if (blob_open(blobs, digest, &fd, &size, error) || digest_file(fd, size, &actual, error))
		return -1;
	if (digest_equal(&actual, digest))
		return 0;
	digest_format(digest, text);
	return error_set(error, ERROR_CHECKSUM, "the stored blob %s has changed on disk: it is not used", text);
}

char *blob_scratch(struct blobs *blobs)
{
	char name[UUID_TEXT_SIZE];

	uuid_new(name);
	return layout_path(blobs, "scratch", name);
}

/*
 * In its place, then durable there: bytes, name, and the name of a new folder. Nobody looks for the name before this has
 * returned, and a file system that commits the name with the bytes needs to be waited for only once.
 */
int layout_publish(
	struct blobs *blobs, const char *from, int fd, const struct digest *digest, struct rounds_error *error)
{
	scoped(text_free) char *path = blob_path(blobs, digest);
	scoped(text_free) char *parent = path ? strndup(path, (size_t)(strrchr(path, '/') - path)) : NULL;
	scoped(text_free) char *root = layout_path(blobs, "blobs", "");
	bool fresh;

	if (!parent || !root)
		return error_no_memory(error);
	fresh = mkdir(parent, 0700) == 0;
	if (!fresh && errno != EEXIST)
		return error_errno(error, "cannot make a folder for blobs");
	if (rename(from, path))
		return error_errno(error, "cannot name a blob");
	if (fsync(fd))
		return error_errno(error, "cannot make a blob durable");
	if (directory_sync(parent, error) || (fresh && directory_sync(root, error)))
		return -1;
	return 0;
}

int blob_adopt(
	struct blobs *blobs, const char *scratch, struct digest *digest, uint64_t *size, struct rounds_error *error)
{
	scoped(file_close) int fd = open(scratch, O_RDWR | O_CLOEXEC);
	struct stat status;
	int failed;

	if (fd < 0 || fstat(fd, &status))
		return error_errno(error, "cannot open %s", scratch);
	*size = (uint64_t)status.st_size;
	failed = digest_file(fd, *size, digest, error) || layout_publish(blobs, scratch, fd, digest, error);
	if (failed)
		unlink(scratch);
	return failed ? -1 : 0;
}

void blob_remove(struct blobs *blobs, const struct digest *digest)
{
	scoped(text_free) char *path = blob_path(blobs, digest);

	if (path)
		unlink(path);
}

uint64_t blobs_space(struct blobs *blobs)
{
	struct statvfs status;

	return statvfs(blobs->directory, &status) ? 0 : (uint64_t)status.f_bavail * status.f_frsize;
}
