#include "common/file.h"
#include "server/blobs/layout.h"
#include "server/blobs/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Bytes are gathered and written a huge page at a time: the page cache then holds the file in huge folios, which the
 * aggregation maps and reads twice to three times as fast as a file that was written in small pieces. So much may be
 * lost of an upload when the server is killed.
 */
enum { GATHER = 2 << 20 };

/*
 * An upload that is larger has a writer beside it, unless as many are active already: then every processor has work, and
 * further buffers for each would only cost memory.
 */
enum { WRITER_FROM = 8 << 20, WRITERS = 4 };

struct upload {
	struct upload *next;
	struct blobs *blobs;
	char id[64];
	int fd;
	bool busy;
	uint64_t begin, offset, length;
	struct piece gathered;        /* what belongs behind what was written; only while one writes */
	struct writer *writer;        /* or NULL: then it is written here */
	struct digest_stream *stream; /* of all bytes so far; NULL if this process has not seen them all */
	EVP_MD_CTX *expected;         /* of this writer's bytes, if it announced a sum */
	uint8_t sum[EVP_MAX_MD_SIZE];
	size_t sum_size;
};

static void upload_free(struct upload *upload)
{
	writer_free(upload->writer);
	file_close(upload->fd);
	digest_stream_free(upload->stream);
	EVP_MD_CTX_free(upload->expected);
	free(upload->gathered.bytes);
	free(upload);
}

void uploads_forget(struct blobs *blobs)
{
	while (blobs->uploads) {
		struct upload *next = blobs->uploads->next;

		upload_free(blobs->uploads);
		blobs->uploads = next;
	}
}

/* Takes a known, idle upload off the list; the lock is held. */
static struct upload *upload_take(struct blobs *blobs, const char *id)
{
	for (struct upload **at = &blobs->uploads; *at; at = &(*at)->next) {
		struct upload *upload = *at;

		if (!strcmp(upload->id, id) && !upload->busy) {
			*at = upload->next;
			return upload;
		}
	}
	return NULL;
}

static bool upload_busy(struct blobs *blobs, const char *id)
{
	for (struct upload *upload = blobs->uploads; upload; upload = upload->next)
		if (!strcmp(upload->id, id) && upload->busy)
			return true;
	return false;
}

int uploads_active(struct blobs *blobs)
{
	int active;

	pthread_mutex_lock(&blobs->lock);
	active = blobs->active;
	pthread_mutex_unlock(&blobs->lock);
	return active;
}

int upload_create(struct blobs *blobs, const char *id, struct rounds_error *error)
{
	scoped(text_free) char *path = layout_path(blobs, "uploads", id);
	scoped(file_close) int fd = -1;

	if (!path)
		return error_no_memory(error);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? error_errno(error, "cannot create an upload") : 0;
}

int upload_offset(struct blobs *blobs, const char *id, uint64_t *offset, struct rounds_error *error)
{
	scoped(text_free) char *path = layout_path(blobs, "uploads", id);
	struct stat status;

	if (!path)
		return error_no_memory(error);
	if (stat(path, &status))
		return error_set(error, ERROR_NOT_FOUND, "there is no such upload");
	*offset = (uint64_t)status.st_size;
	return 0;
}

static struct upload *upload_new(struct blobs *blobs, const char *id, uint64_t offset)
{
	scoped(text_free) char *path = layout_path(blobs, "uploads", id);
	struct upload *upload = calloc(1, sizeof(*upload));

	if (!path || !upload) {
		free(upload);
		return NULL;
	}
	upload->blobs = blobs;
	snprintf(upload->id, sizeof(upload->id), "%s", id);
	upload->fd = open(path, O_RDWR | O_CLOEXEC);
	upload->stream = offset ? NULL : digest_stream_new();
	upload->offset = offset;
	if (upload->fd < 0) {
		upload_free(upload);
		return NULL;
	}
	return upload;
}

int upload_begin(struct blobs *blobs, const char *id, uint64_t offset, uint64_t length, struct upload **out,
	struct rounds_error *error)
{
	struct upload *upload;
	uint64_t stored;
	size_t room;
	bool alone = false;

	if (upload_offset(blobs, id, &stored, error))
		return -1;
	pthread_mutex_lock(&blobs->lock);
	if (upload_busy(blobs, id)) {
		pthread_mutex_unlock(&blobs->lock);
		return error_set(error, ERROR_CONFLICT, "another request is writing to this upload");
	}
	upload = upload_take(blobs, id);
	if (!upload)
		upload = upload_new(blobs, id, stored);
	if (upload) {
		upload->busy = true;
		upload->next = blobs->uploads;
		blobs->uploads = upload;
		alone = blobs->active++ < WRITERS;
	}
	pthread_mutex_unlock(&blobs->lock);
	if (!upload)
		return error_set(error, ERROR_IO, "cannot open the upload");
	room = length - stored < GATHER ? (size_t)(length - stored) + 1 : GATHER;
	upload->begin = upload->offset;
	upload->length = length;
	upload->sum_size = 0;
	upload->gathered = (struct piece){ malloc(room), 0, upload->offset };
	if (upload->gathered.bytes && offset == upload->offset) {
		if (length - stored > WRITER_FROM && alone)
			upload->writer = writer_new(upload->fd, upload->stream, blobs->flusher, GATHER);
		*out = upload;
		return 0;
	}
	if (!upload->gathered.bytes)
		error_no_memory(error);
	else
		error_set(error, ERROR_CONFLICT, "Upload-Offset must be %llu", (unsigned long long)upload->offset);
	(void)!upload_end(upload, &stored, NULL);
	return -1;
}

int upload_expect(
	struct upload *upload, const char *algorithm, const uint8_t *sum, size_t size, struct rounds_error *error)
{
	const EVP_MD *method = !strcmp(algorithm, "sha256") ? EVP_sha256()
			       : !strcmp(algorithm, "sha1") ? EVP_sha1()
							    : NULL;

	if (!method || size != (size_t)EVP_MD_get_size(method))
		return error_set(
			error, ERROR_INVALID, "Upload-Checksum must be sha1 or sha256 and its sum in base64");
	if (!upload->expected && !(upload->expected = EVP_MD_CTX_new()))
		return error_no_memory(error);
	if (EVP_DigestInit_ex(upload->expected, method, NULL) != 1)
		return error_set(error, ERROR_INTERNAL, "cannot compute a checksum");
	memcpy(upload->sum, sum, size);
	upload->sum_size = size;
	return 0;
}

static int flush(struct upload *upload, struct rounds_error *error)
{
	struct piece *piece = &upload->gathered;

	if (upload->writer)
		return writer_give(upload->writer, piece, error);
	if (piece_write(upload->fd, upload->stream, upload->blobs->flusher, piece, error))
		return -1;
	*piece = (struct piece){ piece->bytes, 0, upload->offset };
	return 0;
}

/* What could not be written is gone: back to the file's end, whose digest must be computed anew. Returns -1. */
static int upload_drop(struct upload *upload)
{
	struct stat status;

	writer_free(upload->writer);
	upload->writer = NULL;
	digest_stream_free(upload->stream);
	upload->stream = NULL;
	upload->offset = fstat(upload->fd, &status) ? upload->begin : (uint64_t)status.st_size;
	upload->gathered = (struct piece){ upload->gathered.bytes, 0, upload->offset };
	return -1;
}

/* Up to the next multiple of GATHER in the file, or all of it. */
static size_t gather(struct upload *upload, const void *bytes, size_t size)
{
	size_t room = GATHER - (size_t)(upload->offset % GATHER);

	if (size > room)
		size = room;
	memcpy(upload->gathered.bytes + upload->gathered.size, bytes, size);
	upload->gathered.size += size;
	upload->offset += size;
	return size;
}

int upload_write(struct upload *upload, const void *bytes, size_t size, struct rounds_error *error)
{
	const uint8_t *next = bytes;

	if (size > upload->length - upload->offset)
		return error_set(error, ERROR_TOO_LARGE, "more bytes than the upload's length of %llu",
			(unsigned long long)upload->length);
	if (upload->sum_size)
		EVP_DigestUpdate(upload->expected, bytes, size);
	while (size > 0) {
		size_t taken = gather(upload, next, size);

		next += taken;
		size -= taken;
		if (upload->offset % GATHER == 0 && flush(upload, error))
			return upload_drop(upload);
	}
	return 0;
}

/* Back to where this writer began, as if it had never sent anything. */
static int upload_undo(struct upload *upload, struct rounds_error *error)
{
	digest_stream_free(upload->stream);
	upload->stream = upload->begin ? NULL : digest_stream_new();
	upload->offset = upload->begin;
	if (ftruncate(upload->fd, (off_t)upload->begin))
		return error_errno(error, "cannot undo a write");
	return error_set(error, ERROR_CHECKSUM, "the bytes do not have the announced checksum; send them again");
}

int upload_end(struct upload *upload, uint64_t *offset, struct rounds_error *error)
{
	struct blobs *blobs = upload->blobs;
	uint8_t sum[EVP_MAX_MD_SIZE];
	int result = 0;

	if ((upload->gathered.size > 0 && flush(upload, error)) ||
		(upload->writer && writer_finish(upload->writer, error)))
		result = upload_drop(upload);
	else if (upload->sum_size && EVP_DigestFinal_ex(upload->expected, sum, NULL) == 1 &&
		 memcmp(sum, upload->sum, upload->sum_size))
		result = upload_undo(upload, error);
	writer_free(upload->writer);
	upload->writer = NULL;
	free(upload->gathered.bytes);
	upload->gathered.bytes = NULL;
	*offset = upload->offset;
	pthread_mutex_lock(&blobs->lock);
	upload->busy = false;
	blobs->active--;
	pthread_mutex_unlock(&blobs->lock);
	return result;
}

int upload_complete(struct blobs *blobs, const char *id, uint64_t length, const struct digest *expected,
	struct digest *digest, struct rounds_error *error)
{
	scoped(text_free) char *path = layout_path(blobs, "uploads", id);
	struct upload *upload;
	int failed;

	pthread_mutex_lock(&blobs->lock);
	upload = upload_take(blobs, id);
	if (!upload)
		upload = upload_new(blobs, id, length);
	pthread_mutex_unlock(&blobs->lock);
	if (!upload || !path)
		return error_set(error, ERROR_IO, "cannot open the upload");
	if (upload->stream) {
		digest_stream_finish(upload->stream, digest);
		failed = 0;
	} else {
		failed = digest_file(upload->fd, length, digest, error);
	}
	if (!failed && expected && !digest_equal(digest, expected)) {
		failed = error_set(
			error, ERROR_CHECKSUM, "the upload does not have the announced digest; it was discarded");
		unlink(path);
	}
	if (!failed)
		failed = layout_publish(blobs, path, upload->fd, digest, error);
	upload_free(upload);
	return failed ? -1 : 0;
}

void upload_remove(struct blobs *blobs, const char *id)
{
	scoped(text_free) char *path = layout_path(blobs, "uploads", id);
	struct upload *upload;

	pthread_mutex_lock(&blobs->lock);
	upload = upload_take(blobs, id);
	pthread_mutex_unlock(&blobs->lock);
	if (upload)
		upload_free(upload);
	if (path)
		unlink(path);
}
