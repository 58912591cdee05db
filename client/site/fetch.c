#include "client/site/fetch.h"

#include "client/site/cache.h"
#include "client/site/words.h"
#include "client/transfer.h"
#include "common/artifact.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <fcntl.h>
#include <math.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

static void count_bytes(struct work *work, const char *name, const char *path)
{
	struct stat status;

	if (stat(path, &status) == 0)
		json_object_set_new(
			work->timings, name, json_integer(json_integer_or(work->timings, name, 0) + status.st_size));
}

/* A small file came with its task: checked by its digest, it goes where a fetched one would. */
static bool take_small_file(const struct work *work, const char *name, const char *path, const struct digest *digest)
{
	const char *text = json_text_or(json_object_get(json_object_get(work->task, "files"), name), "data", "");
	size_t length = strlen(text);
	scoped(free) void *bytes = length > 0 ? malloc(length) : NULL;
	struct rounds_error error;
	struct digest actual;
	int size;

	if (!bytes || length % 4)
		return false;
	size = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length);
	size -= (text[length - 1] == '=') + (text[length - 2] == '=');
	if (size < 0)
		return false;
	digest_of(bytes, (size_t)size, &actual);
	return digest_equal(&actual, digest) && !file_put(path, bytes, (size_t)size, 0600, &error);
}

/* What the slots' tasks read or fetch: digests as text, a new reference. */
static json_t *files_in_use(struct site *site)
{
	json_t *used = json_array();

	pthread_mutex_lock(&site->lock);
	for (size_t i = 0; i < site->slot_count; i++) {
		const char *name;
		json_t *file;

		json_object_foreach (json_object_get(site->slots[i].order, "files"), name, file)
			json_array_append(used, json_object_get(file, "digest"));
	}
	pthread_mutex_unlock(&site->lock);
	return used;
}

static uint64_t size_of_part(const char *path)
{
	scoped(text_free) char *part = text_new("%s.part", path);
	struct stat status;

	return part && stat(part, &status) == 0 ? (uint64_t)status.st_size : 0;
}

/* Room for `bytes` more in the cache beside what other slots await; it is theirs until it is given up. */
static bool take_room(struct site *site, uint64_t limit, uint64_t bytes)
{
	json_auto_t *used = files_in_use(site);
	uint64_t awaited;
	bool fits;

	pthread_mutex_lock(&site->lock);
	awaited = site->awaited_bytes + bytes;
	fits = awaited >= bytes && awaited <= limit &&
	       cache_trim(site->cache_directory, limit - awaited, used) <= limit - awaited;
	if (fits)
		site->awaited_bytes = awaited;
	pthread_mutex_unlock(&site->lock);
	return fits;
}

static void give_up_room(struct site *site, uint64_t bytes)
{
	pthread_mutex_lock(&site->lock);
	site->awaited_bytes -= bytes;
	pthread_mutex_unlock(&site->lock);
}

static int download(
	struct work *work, const struct digest *digest, const char *path, uint64_t limit, struct failure *failure)
{
	struct site *site = work->slot->site;
	struct transfer_options options = { .moved = work_moved, .context = work, .limit = limit };
	struct rounds_error error = { 0 };
	struct backoff backoff = { 0 };

	while (transfer_download(work->slot->connection, digest, path, &options, &error)) {
		if (work->beat.called_off)
			return -1;
		if (error.kind == ERROR_NO_SPACE || !error_is_passing(&error) || !backoff_wait(&backoff, site))
			return failed_by(failure, FAILURE_DOWNLOAD, true, &error);
		log_warn("the download goes on", "task", work->id, "reason", error.message, NULL);
		beat_now(&work->beat, "downloading", NAN, NULL);
	}
	count_bytes(work, "downloaded", path);
	return 0;
}

/* `size` is what the server announced, 0 if it did not: the file then may fill the cache. */
static int download_into_cache(
	struct work *work, const struct digest *digest, const char *path, uint64_t size, struct failure *failure)
{
	struct site *site = work->slot->site;
	uint64_t limit = (uint64_t)json_integer_or(site->settings, "cache_mb", 20000) << 20;
	uint64_t part = size_of_part(path), more = size > part ? size - part : 0;
	int failed;

	if (size > limit)
		return failed_with(
			failure, FAILURE_POLICY, false, "a file of the task is larger than site.json's cache_mb");
	if (!take_room(site, limit, more))
		return failed_with(
			failure, FAILURE_NO_SPACE, true, "site.json's cache_mb is too small for the files in use");
	failed = download(work, digest, path, size ? size : limit, failure);
	give_up_room(site, more);
	return failed;
}

static int fetch_file(struct work *work, const struct artifact *file, char **path, struct failure *failure)
{
	struct digest digest;

	if (!digest_parse(file->digest, &digest))
		return failed_with(failure, FAILURE_DOWNLOAD, false, "the server named a file that is no digest");
	*path = cache_path(work->slot->site->cache_directory, &digest);
	if (!*path)
		return failed_with(failure, FAILURE_NO_MEMORY, true, "no memory for a path");
	if (utimensat(AT_FDCWD, *path, NULL, 0) == 0)
		return 0; /* there, and used just now */
	if (take_small_file(work, file->name, *path, &digest)) {
		count_bytes(work, "downloaded", *path);
		return 0;
	}
	work->size = file->size > 0 ? (double)file->size : 0;
	return download_into_cache(work, &digest, *path, file->size > 0 ? (uint64_t)file->size : 0, failure);
}

int fetch_files(struct work *work, json_t *paths, struct failure *failure)
{
	json_t *files = json_object_get(work->task, "files"), *entry;
	const char *name;

	json_object_foreach (files, name, entry) {
		scoped(text_free) char *path = NULL;
		struct artifact file;

		if (artifact_find(files, name, &file) && fetch_file(work, &file, &path, failure))
			return -1;
		if (path && json_object_set_new(paths, name, json_text(path)))
			return failed_with(failure, FAILURE_NO_MEMORY, true, "no memory for a path");
	}
	return 0;
}
