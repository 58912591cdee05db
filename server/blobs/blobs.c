#include "server/blobs/blobs.h"

#include "common/file.h"
#include "common/text.h"
#include "common/uuid.h"
#include "server/blobs/layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

char *layout_path(struct blobs *blobs, const char *folder, const char *name)
{
	return text_new("%s/%s/%s", blobs->directory, folder, name);
}

/* The folders by a digest's first two digits, once for all: no blob then waits for the name of its folder to be durable. */
static int make_folders(struct blobs *blobs, struct rounds_error *error)
{
	scoped(text_free) char *root = layout_path(blobs, "blobs", "");
	char prefix[3];

	for (unsigned i = 0; root && i < 256; i++) {
		scoped(text_free) char *path = NULL;

		snprintf(prefix, sizeof(prefix), "%02x", i);
		path = layout_path(blobs, "blobs", prefix);
		if (!path)
			return error_no_memory(error);
		if (directory_make(path, 0700, error))
			return -1;
	}
	return root ? directory_sync(root, error) : error_no_memory(error);
}

int blobs_open(const char *directory, struct blobs **out, struct rounds_error *error)
{
	static const char *const folders[] = { "blobs", "uploads", "scratch", "removed" };
	scoped(blobs_close) struct blobs *blobs = calloc(1, sizeof(*blobs));

	if (!blobs || !(blobs->directory = strdup(directory)))
		return error_no_memory(error);
	pthread_mutex_init(&blobs->lock, NULL);
	blobs->flusher = flusher_new();
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		scoped(text_free) char *path = layout_path(blobs, folders[i], "");

		if (!path)
			return error_no_memory(error);
		if (i >= 2) /* of the last run */
			directory_remove(path);
		if (directory_make(path, 0700, error))
			return -1;
	}
	if (make_folders(blobs, error))
		return -1;
	*out = blobs;
	blobs = NULL;
	return 0;
}

void blobs_close(struct blobs *blobs)
{
	struct appearing *appearing;

	if (!blobs)
		return;
	uploads_forget(blobs);
	while ((appearing = LIST_FIRST(&blobs->appearing))) {
		LIST_REMOVE(appearing, place);
		free(appearing);
	}
	flusher_free(blobs->flusher);
	pthread_mutex_destroy(&blobs->lock);
	free(blobs->directory);
	free(blobs);
}

static char *blob_path(struct blobs *blobs, const struct digest *digest)
{
	char text[DIGEST_TEXT_SIZE];
	const char *hex = text + 7;

	digest_format(digest, text);
	return text_new("%s/blobs/%.2s/%s", blobs->directory, hex, hex + 2);
}

static int blob_open(struct blobs *blobs, const struct digest *digest, int *fd, struct rounds_error *error)
{
	scoped(text_free) char *path = blob_path(blobs, digest);

	if (!path)
		return error_no_memory(error);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd >= 0)
		return 0;
	return errno == ENOENT ? error_set(error, ERROR_NOT_FOUND, "there is no such blob")
			       : error_errno(error, "cannot open a blob");
}

int blob_hold(struct blobs *blobs, const struct digest *digest, struct view *view, struct rounds_error *error)
{
	scoped(file_close) int fd = -1;

	return blob_open(blobs, digest, &fd, error) || view_of_descriptor(fd, view, error) ? -1 : 0;
}

bool blob_is_there(struct blobs *blobs, const struct digest *digest)
{
	scoped(text_free) char *path = blob_path(blobs, digest);

	return path && access(path, R_OK) == 0;
}

static int digest_whole(int fd, struct digest *digest, uint64_t *size, struct rounds_error *error)
{
	struct stat status;

	if (fstat(fd, &status))
		return error_errno(error, "cannot look at a blob");
	*size = (uint64_t)status.st_size;
	return digest_file(fd, *size, digest, error);
}

int blob_verify(struct blobs *blobs, const struct digest *digest, struct rounds_error *error)
{
	scoped(file_close) int fd = -1;
	uint64_t size;
	struct digest actual;
	char text[DIGEST_TEXT_SIZE];

	if (blob_open(blobs, digest, &fd, error) || digest_whole(fd, &actual, &size, error))
		return -1;
	if (digest_equal(&actual, digest))
		return 0;
	digest_format(digest, text);
	return error_set(error, ERROR_CHECKSUM, "the stored blob %s has changed on disk: it is not used", text);
}

static int appear(struct blobs *blobs, const struct digest *digest, struct rounds_error *error)
{
	struct appearing *appearing = malloc(sizeof(*appearing));

	if (!appearing)
		return error_no_memory(error);
	appearing->digest = *digest;
	pthread_mutex_lock(&blobs->lock);
	LIST_INSERT_HEAD(&blobs->appearing, appearing, place);
	pthread_mutex_unlock(&blobs->lock);
	return 0;
}

/* The lock is held. */
static struct appearing *appearing_find(struct blobs *blobs, const struct digest *digest)
{
	struct appearing *appearing;

	LIST_FOREACH(appearing, &blobs->appearing, place)
	if (digest_equal(&appearing->digest, digest))
		return appearing;
	return NULL;
}

void blob_settle(struct blobs *blobs, const struct digest *digest)
{
	struct appearing *appearing;

	pthread_mutex_lock(&blobs->lock);
	appearing = appearing_find(blobs, digest);
	if (appearing)
		LIST_REMOVE(appearing, place);
	pthread_mutex_unlock(&blobs->lock);
	free(appearing);
}

/*
 * In its place, then durable there: bytes and name. Nobody looks for the name before this has returned, and a file system
 * that commits the name with the bytes needs to be waited for only once.
 */
static int publish(
	struct blobs *blobs, const char *from, int fd, const struct digest *digest, struct rounds_error *error)
{
	scoped(text_free) char *path = blob_path(blobs, digest);
	scoped(text_free) char *parent = path ? strndup(path, (size_t)(strrchr(path, '/') - path)) : NULL;

	if (!parent)
		return error_no_memory(error);
	if (rename(from, path))
		return error_errno(error, "cannot name a blob");
	if (fsync(fd))
		return error_errno(error, "cannot make a blob durable");
	return directory_sync(parent, error);
}

int layout_publish(
	struct blobs *blobs, const char *from, int fd, const struct digest *digest, struct rounds_error *error)
{
	if (appear(blobs, digest, error))
		return -1;
	if (!publish(blobs, from, fd, digest, error))
		return 0;
	blob_settle(blobs, digest);
	return -1;
}

bool blob_remove(struct blobs *blobs, const struct digest *digest)
{
	scoped(text_free) char *path = blob_path(blobs, digest);
	scoped(text_free) char *aside = path ? layout_path(blobs, "removed", strrchr(path, '/') + 1) : NULL;
	bool removed;

	if (!aside)
		return false;
	pthread_mutex_lock(&blobs->lock);
	removed = !appearing_find(blobs, digest) && (!rename(path, aside) || errno == ENOENT);
	pthread_mutex_unlock(&blobs->lock);
	return removed;
}

void blobs_empty(struct blobs *blobs)
{
	scoped(text_free) char *path = layout_path(blobs, "removed", "");
	DIR *folder = path ? opendir(path) : NULL;
	struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(folder), entry->d_name, 0);
	if (folder)
		closedir(folder);
}

struct draft {
	struct blobs *blobs;
	char *path;
	int fd;
	struct sink sink;
	bool adopted;
	struct digest digest; /* once adopted */
};

int draft_new(struct blobs *blobs, struct draft **out, struct rounds_error *error)
{
	scoped(draft_free) struct draft *draft = calloc(1, sizeof(*draft));
	char name[UUID_TEXT_SIZE];

	if (!draft)
		return error_no_memory(error);
	uuid_new(world_real(), name);
	draft->blobs = blobs;
	draft->fd = -1;
	draft->path = layout_path(blobs, "scratch", name);
	if (!draft->path)
		return error_no_memory(error);
	draft->fd = open(draft->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (draft->fd < 0)
		return error_errno(error, "cannot create a file for new weights");
	draft->sink = sink_of_descriptor(&draft->fd);
	*out = draft;
	draft = NULL;
	return 0;
}

void draft_free(struct draft *draft)
{
	if (!draft)
		return;
	if (draft->adopted)
		blob_settle(draft->blobs, &draft->digest);
	else if (draft->fd >= 0)
		unlink(draft->path);
	file_close(draft->fd);
	free(draft->path);
	free(draft);
}

const struct sink *draft_sink(const struct draft *draft)
{
	return &draft->sink;
}

int draft_view(const struct draft *draft, struct view *view, struct rounds_error *error)
{
	return view_of_descriptor(draft->fd, view, error);
}

int draft_digest(const struct draft *draft, struct digest *digest, struct rounds_error *error)
{
	uint64_t size;

	return digest_whole(draft->fd, digest, &size, error);
}

int draft_adopt(struct draft *draft, struct digest *digest, uint64_t *size, struct rounds_error *error)
{
	if (digest_whole(draft->fd, digest, size, error) ||
		layout_publish(draft->blobs, draft->path, draft->fd, digest, error))
		return -1;
	draft->adopted = true;
	draft->digest = *digest;
	return 0;
}

struct review {
	struct blobs *blobs;
	int (*keep)(void *context, const struct digest *digest, struct rounds_error *error);
	void *context;
};

/* One of the folders by the first two digits. */
static int review_folder(const struct review *review, const char *prefix, struct rounds_error *error)
{
	scoped(text_free) char *path = layout_path(review->blobs, "blobs", prefix);
	DIR *folder = path ? opendir(path) : NULL;
	struct dirent *entry;
	int kept = 1;

	while (folder && kept >= 0 && (entry = readdir(folder))) {
		char text[DIGEST_TEXT_SIZE + NAME_MAX];
		struct digest digest;

		snprintf(text, sizeof(text), "sha256:%.2s%s", prefix, entry->d_name);
		if (!digest_parse(text, &digest))
			continue;
		kept = review->keep(review->context, &digest, error);
		if (kept == 0)
			blob_remove(review->blobs, &digest);
	}
	if (folder)
		closedir(folder);
	return kept < 0 ? -1 : 0;
}

int blobs_review(struct blobs *blobs,
	int (*keep)(void *context, const struct digest *digest, struct rounds_error *error), void *context,
	struct rounds_error *error)
{
	const struct review review = { blobs, keep, context };
	char prefix[3];

	for (unsigned i = 0; i < 256; i++) {
		snprintf(prefix, sizeof(prefix), "%02x", i);
		if (review_folder(&review, prefix, error))
			return -1;
	}
	blobs_empty(blobs);
	return 0;
}

uint64_t blobs_space(struct blobs *blobs)
{
	struct statvfs status;

	return statvfs(blobs->directory, &status) ? 0 : (uint64_t)status.f_bavail * status.f_frsize;
}
