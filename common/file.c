#include "common/file.h"

#include "common/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void file_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

int file_read(const char *path, size_t limit, char **text, size_t *size, struct rounds_error *error)
{
	scoped(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	scoped(text_free) char *bytes = NULL;
	size_t used = 0, room = 0;

	if (fd < 0)
		return error_errno(error, "cannot open %s", path);
	for (;;) {
		if (room - used < 2) {
			char *more = realloc(bytes, room = room ? 2 * room : 4096);

			if (!more)
				return error_no_memory(error);
			bytes = more;
		}
		ssize_t got = read(fd, bytes + used, room - used - 1);
		if (got < 0)
			return error_errno(error, "cannot read %s", path);
		if (got == 0)
			break;
		used += (size_t)got;
		if (used > limit)
			return error_set(error, ERROR_TOO_LARGE, "%s has more than %zu bytes", path, limit);
	}
	bytes[used] = '\0';
	*text = bytes;
	bytes = NULL;
	if (size)
		*size = used;
	return 0;
}

int file_write_all(int fd, const void *bytes, size_t size, struct rounds_error *error)
{
	const char *next = bytes;

	while (size > 0) {
		ssize_t put = write(fd, next, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_errno(error, "cannot write");
		next += put;
		size -= (size_t)put;
	}
	return 0;
}

int file_pwrite_all(int fd, const void *bytes, size_t size, uint64_t offset, struct rounds_error *error)
{
	const char *next = bytes;

	while (size > 0) {
		ssize_t put = pwrite(fd, next, size, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_errno(error, "cannot write");
		next += put;
		size -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* Writes a neighbour and renames it over `path`. */
static int put(
	const char *path, const void *bytes, size_t size, mode_t mode, bool durable, struct rounds_error *error)
{
	scoped(text_free) char *fresh = text_new("%s.new-%d", path, (int)gettid());
	scoped(file_close) int fd = -1;

	if (!fresh)
		return error_no_memory(error);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return error_errno(error, "cannot create %s", fresh);
	if (file_write_all(fd, bytes, size, error) || (durable && fsync(fd) && error_errno(error, "cannot sync")) ||
		(rename(fresh, path) && error_errno(error, "cannot rename"))) {
		unlink(fresh);
		return error_prefix(error, "%s", path);
	}
	return 0;
}

int file_put(const char *path, const void *bytes, size_t size, mode_t mode, struct rounds_error *error)
{
	return put(path, bytes, size, mode, false, error);
}

int file_replace(const char *path, const void *bytes, size_t size, mode_t mode, struct rounds_error *error)
{
	scoped(text_free) char *parent = parent_of(path);

	if (!parent)
		return error_no_memory(error);
	return put(path, bytes, size, mode, true, error) || directory_sync(parent, error) ? -1 : 0;
}

int directory_sync(const char *path, struct rounds_error *error)
{
	scoped(file_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd))
		return error_errno(error, "cannot sync the directory %s", path);
	return 0;
}

int directory_make(const char *path, mode_t mode, struct rounds_error *error)
{
	scoped(text_free) char *part = NULL;

	if (!mkdir(path, mode) || errno == EEXIST)
		return 0;
	part = strdup(path);
	if (!part)
		return error_no_memory(error);
	for (char *slash = part; slash;) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(part, mode) && errno != EEXIST)
			return error_errno(error, "cannot make the directory %s", part);
		if (slash)
			*slash = '/';
	}
	return 0;
}

static int keep_private(int directory, const char *name, struct rounds_error *error)
{
	struct stat status;

	/* What vanishes meanwhile is private enough, and so is what another user owns: it was put there on purpose. */
	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) || S_ISLNK(status.st_mode) ||
		status.st_uid != geteuid() || !(status.st_mode & 077))
		return 0;
	if (fchmodat(directory, name, status.st_mode & 0700, 0) == 0 || errno == ENOENT)
		return 0;
	return error_errno(error, "cannot take from others what they may do with %s", name);
}

int directory_keep_private(const char *path, struct rounds_error *error)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	int failed = 0;

	if (!directory)
		return error_errno(error, "cannot open the directory %s", path);
	while (!failed && (entry = readdir(directory)))
		if (strcmp(entry->d_name, ".."))
			failed = keep_private(dirfd(directory), entry->d_name, error);
	closedir(directory);
	return failed;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status;
	(void)kind;
	(void)where;
	(void)!remove(path); /* go on: the rest can still be removed */
	return 0;
}

void directory_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int file_lock(const char *path, struct rounds_error *error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(error, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return error_set(error, ERROR_CONFLICT, "another process is using it: %s is locked", path);
	}
	return fd;
}
