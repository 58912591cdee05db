#include "common/file.h"
#include "common/uuid.h"
#include "server/blobs/layout.h"
#include "server/blobs/writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdatomic.h>
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

/* One PATCH: what is needed only while bytes arrive. */
struct arrival {
	int fd;
	uint64_t offset;       /* behind what has arrived */
	struct piece gathered; /* what belongs behind what was written */
	struct writer *writer; /* or NULL: then it is written here */
	EVP_MD_CTX *expected;  /* of this arrival's bytes, if it announced a sum */
	uint8_t sum[EVP_MAX_MD_SIZE];
	size_t sum_size;
};

/* Idle, it holds no descriptor and no buffer. The lock of the list guards `state` and `stored`. */
struct upload {
	LIST_ENTRY(upload) place;
	struct blobs *blobs;
	char id[UUID_TEXT_SIZE], owner[80];
	uint64_t length, stored;
	enum { IDLE, TAKEN, COMPLETE } state;
	atomic_bool given_up;         /* while a request had taken it: that request ends it */
	struct digest_stream *stream; /* of all bytes so far; NULL if this process has not seen them all */
	struct arrival *arrival;      /* of whoever has taken it */
};

static void arrival_free(struct arrival *arrival)
{
	if (!arrival)
		return;
	writer_free(arrival->writer);
	file_close(arrival->fd);
	EVP_MD_CTX_free(arrival->expected);
	free(arrival->gathered.bytes);
	free(arrival);
}

static void upload_free(struct upload *upload)
{
	arrival_free(upload->arrival);
	digest_stream_free(upload->stream);
	free(upload);
}

void uploads_forget(struct blobs *blobs)
{
	struct upload *upload;

	while ((upload = LIST_FIRST(&blobs->uploads))) {
		LIST_REMOVE(upload, place);
		upload_free(upload);
	}
}

/* The lock is held. One that was given up is as unknown as one that never was; so is another's, if an owner is asked for. */
static struct upload *upload_known(struct blobs *blobs, const char *id, const char *owner)
{
	struct upload *upload;

	LIST_FOREACH(upload, &blobs->uploads, place)
	if (!strcmp(upload->id, id))
		break;
	if (!upload || upload->given_up || (owner && strcmp(upload->owner, owner) != 0))
		return NULL;
	return upload;
}

static int unknown(struct rounds_error *error)
{
	return error_set(error, ERROR_NOT_FOUND, "there is no such upload");
}

int uploads_active(struct blobs *blobs)
{
	int active;

	pthread_mutex_lock(&blobs->lock);
	active = blobs->active;
	pthread_mutex_unlock(&blobs->lock);
	return active;
}

bool upload_is_active(struct blobs *blobs, const char *id)
{
	struct upload *upload;
	bool active;

	pthread_mutex_lock(&blobs->lock);
	upload = upload_known(blobs, id, NULL);
	active = upload && upload->state == TAKEN;
	pthread_mutex_unlock(&blobs->lock);
	return active;
}

void uploads_promised(struct blobs *blobs, const char *owner, uint64_t *all, uint64_t *own)
{
	struct upload *upload;

	*all = *own = 0;
	pthread_mutex_lock(&blobs->lock);
	LIST_FOREACH(upload, &blobs->uploads, place)
	{
		uint64_t rest = upload->state == COMPLETE ? 0 : upload->length - upload->stored;

		*all += rest;
		*own += strcmp(upload->owner, owner) ? 0 : rest;
	}
	pthread_mutex_unlock(&blobs->lock);
}

static int upload_enter(
	struct blobs *blobs, const struct upload_facts *facts, uint64_t stored, struct rounds_error *error)
{
	struct upload *upload = calloc(1, sizeof(*upload));

	if (!upload)
		return error_no_memory(error);
	upload->blobs = blobs;
	snprintf(upload->id, sizeof(upload->id), "%s", facts->id);
	snprintf(upload->owner, sizeof(upload->owner), "%s", facts->owner);
	upload->length = facts->length;
	upload->stored = stored;
	upload->state = facts->is_complete ? COMPLETE : IDLE;
	upload->stream = stored ? NULL : digest_stream_new();
	pthread_mutex_lock(&blobs->lock);
	LIST_INSERT_HEAD(&blobs->uploads, upload, place);
	pthread_mutex_unlock(&blobs->lock);
	return 0;
}

int upload_create(struct blobs *blobs, const struct upload_facts *facts, struct rounds_error *error)
{
	scoped(text_free) char *path = layout_path(blobs, "uploads", facts->id);
	scoped(file_close) int fd = -1;

	if (!path)
		return error_no_memory(error);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(error, "cannot create an upload");
	return upload_enter(blobs, facts, 0, error);
}

int upload_find_again(struct blobs *blobs, const struct upload_facts *facts, struct rounds_error *error)
{
	scoped(text_free) char *path = layout_path(blobs, "uploads", facts->id);
	struct stat status;

	if (!path)
		return error_no_memory(error);
	if (facts->is_complete)
		return upload_enter(blobs, facts, facts->length, error);
	if (stat(path, &status) || (uint64_t)status.st_size > facts->length)
		return 0; /* the client begins anew */
	return upload_enter(blobs, facts, (uint64_t)status.st_size, error);
}

int uploads_clear(struct blobs *blobs, struct rounds_error *error)
{
	scoped(text_free) char *path = layout_path(blobs, "uploads", "");
	struct dirent *entry;
	DIR *folder = path ? opendir(path) : NULL;

	if (!folder)
		return error_errno(error, "cannot read the folder of uploads");
	pthread_mutex_lock(&blobs->lock);
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.' && !upload_known(blobs, entry->d_name, NULL))
			(void)unlinkat(dirfd(folder), entry->d_name, 0);
	pthread_mutex_unlock(&blobs->lock);
	closedir(folder);
	return 0;
}

int upload_offset(struct blobs *blobs, const char *id, uint64_t *offset, struct rounds_error *error)
{
	struct upload *upload;

	pthread_mutex_lock(&blobs->lock);
	upload = upload_known(blobs, id, NULL);
	if (upload)
		*offset = upload->stored;
	pthread_mutex_unlock(&blobs->lock);
	return upload ? 0 : unknown(error);
}

/* For one request alone, until upload_leave; `offset` must be where the last one stopped. */
static int upload_take(struct blobs *blobs, const char *id, const char *owner, uint64_t offset, struct upload **out,
	struct rounds_error *error)
{
	struct upload *upload;
	int failed = 0;

	pthread_mutex_lock(&blobs->lock);
	upload = upload_known(blobs, id, owner);
	if (!upload)
		failed = unknown(error);
	else if (upload->state == COMPLETE)
		failed = error_set(error, ERROR_CONFLICT, "this upload is complete");
	else if (upload->state == TAKEN)
		failed = error_set(error, ERROR_CONFLICT, "another request is writing to this upload");
	else if (offset != upload->stored)
		failed = error_set(
			error, ERROR_CONFLICT, "Upload-Offset must be %llu", (unsigned long long)upload->stored);
	if (!failed) {
		upload->state = TAKEN;
		blobs->active++;
		*out = upload;
	}
	pthread_mutex_unlock(&blobs->lock);
	return failed;
}

static void upload_end_for_good(struct upload *upload)
{
	scoped(text_free) char *path = layout_path(upload->blobs, "uploads", upload->id);

	if (path)
		unlink(path);
	upload_free(upload);
}

/* The end of upload_take. ERROR_NOT_FOUND, and the upload is gone, if it was given up meanwhile. */
static int upload_leave(struct upload *upload, uint64_t stored, bool is_complete, struct rounds_error *error)
{
	struct blobs *blobs = upload->blobs;
	bool given_up;

	arrival_free(upload->arrival);
	upload->arrival = NULL;
	pthread_mutex_lock(&blobs->lock);
	blobs->active--;
	upload->stored = stored;
	upload->state = is_complete ? COMPLETE : IDLE;
	given_up = upload->given_up;
	if (given_up)
		LIST_REMOVE(upload, place);
	pthread_mutex_unlock(&blobs->lock);
	if (!given_up)
		return 0;
	upload_end_for_good(upload);
	return error_set(error, ERROR_NOT_FOUND, "this upload was given up while it was written");
}

static int arrival_open(struct upload *upload, struct rounds_error *error)
{
	struct blobs *blobs = upload->blobs;
	scoped(text_free) char *path = layout_path(blobs, "uploads", upload->id);
	struct arrival *arrival = calloc(1, sizeof(*arrival));
	uint64_t rest = upload->length - upload->stored;
	bool alone;

	if (!path || !arrival) {
		free(arrival);
		return error_no_memory(error);
	}
	arrival->offset = upload->stored;
	arrival->fd = open(path, O_RDWR | O_CLOEXEC);
	arrival->gathered = (struct piece){ malloc(rest < GATHER ? (size_t)rest + 1 : GATHER), 0, upload->stored };
	if (arrival->fd < 0 || !arrival->gathered.bytes) {
		error_errno(error, "cannot open the upload");
		arrival_free(arrival);
		return -1;
	}
	upload->arrival = arrival;
	pthread_mutex_lock(&blobs->lock);
	alone = blobs->active <= WRITERS;
	pthread_mutex_unlock(&blobs->lock);
	if (rest > WRITER_FROM && alone)
		arrival->writer = writer_new(arrival->fd, upload->stream, blobs->flusher, GATHER);
	return 0;
}

int upload_begin(struct blobs *blobs, const char *id, const char *owner, uint64_t offset, struct upload **out,
	struct rounds_error *error)
{
	if (upload_take(blobs, id, owner, offset, out, error))
		return -1;
	if (!arrival_open(*out, error))
		return 0;
	(void)!upload_leave(*out, offset, false, NULL);
	return -1;
}

int upload_expect(
	struct upload *upload, const char *algorithm, const uint8_t *sum, size_t size, struct rounds_error *error)
{
	struct arrival *arrival = upload->arrival;
	const EVP_MD *method = !strcmp(algorithm, "sha256") ? EVP_sha256()
			       : !strcmp(algorithm, "sha1") ? EVP_sha1()
							    : NULL;

	if (!method || size != (size_t)EVP_MD_get_size(method))
		return error_set(
			error, ERROR_INVALID, "Upload-Checksum must be sha1 or sha256 and its sum in base64");
	if (!arrival->expected && !(arrival->expected = EVP_MD_CTX_new()))
		return error_no_memory(error);
	if (EVP_DigestInit_ex(arrival->expected, method, NULL) != 1)
		return error_set(error, ERROR_INTERNAL, "cannot compute a checksum");
	memcpy(arrival->sum, sum, size);
	arrival->sum_size = size;
	return 0;
}

static int flush(struct upload *upload, struct rounds_error *error)
{
	struct arrival *arrival = upload->arrival;
	struct piece *piece = &arrival->gathered;

	if (arrival->writer)
		return writer_give(arrival->writer, piece, error);
	if (piece_write(arrival->fd, upload->stream, upload->blobs->flusher, piece, error))
		return -1;
	*piece = (struct piece){ piece->bytes, 0, arrival->offset };
	return 0;
}

/* What could not be written is gone: back to the file's end, whose digest must be computed anew. Returns -1. */
static int upload_drop(struct upload *upload)
{
	struct arrival *arrival = upload->arrival;
	struct stat status;

	writer_free(arrival->writer);
	arrival->writer = NULL;
	digest_stream_free(upload->stream);
	upload->stream = NULL;
	arrival->offset = fstat(arrival->fd, &status) ? upload->stored : (uint64_t)status.st_size;
	arrival->gathered = (struct piece){ arrival->gathered.bytes, 0, arrival->offset };
	return -1;
}

/* Up to the next multiple of GATHER in the file, or all of it. */
static size_t gather(struct arrival *arrival, const void *bytes, size_t size)
{
	struct piece *piece = &arrival->gathered;
	size_t room = GATHER - (size_t)(arrival->offset % GATHER);

	if (size > room)
		size = room;
	memcpy(piece->bytes + piece->size, bytes, size);
	piece->size += size;
	arrival->offset += size;
	return size;
}

int upload_write(struct upload *upload, const void *bytes, size_t size, struct rounds_error *error)
{
	struct arrival *arrival = upload->arrival;
	const uint8_t *next = bytes;

	if (upload->given_up)
		return unknown(error);
	if (size > upload->length - arrival->offset)
		return error_set(error, ERROR_TOO_LARGE, "more bytes than the upload's length of %llu",
			(unsigned long long)upload->length);
	if (arrival->sum_size)
		EVP_DigestUpdate(arrival->expected, bytes, size);
	while (size > 0) {
		size_t taken = gather(arrival, next, size);

		next += taken;
		size -= taken;
		if (arrival->offset % GATHER == 0 && flush(upload, error))
			return upload_drop(upload);
	}
	return 0;
}

/* Back to where this arrival began, as if it had never sent anything. */
static int upload_undo(struct upload *upload, struct rounds_error *error)
{
	struct arrival *arrival = upload->arrival;

	digest_stream_free(upload->stream);
	upload->stream = upload->stored ? NULL : digest_stream_new();
	arrival->offset = upload->stored;
	if (ftruncate(arrival->fd, (off_t)upload->stored))
		return error_errno(error, "cannot undo a write");
	return error_set(error, ERROR_CHECKSUM, "the bytes do not have the announced checksum; send them again");
}

int upload_end(struct upload *upload, uint64_t *offset, struct rounds_error *error)
{
	struct arrival *arrival = upload->arrival;
	uint8_t sum[EVP_MAX_MD_SIZE];
	int result = 0;

	if ((arrival->gathered.size > 0 && flush(upload, error)) ||
		(arrival->writer && writer_finish(arrival->writer, error)))
		result = upload_drop(upload);
	else if (arrival->sum_size && EVP_DigestFinal_ex(arrival->expected, sum, NULL) == 1 &&
		 memcmp(sum, arrival->sum, arrival->sum_size))
		result = upload_undo(upload, error);
	*offset = arrival->offset;
	return upload_leave(upload, *offset, false, error) ? -1 : result;
}

/* The digest of all of it, if that is the expected one. */
static int upload_digest(struct upload *upload, int fd, const struct digest *expected, struct digest *digest,
	struct rounds_error *error)
{
	if (upload->stream)
		digest_stream_finish(upload->stream, digest);
	else if (digest_file(fd, upload->length, digest, error))
		return -1;
	digest_stream_free(upload->stream);
	upload->stream = NULL;
	if (!expected || digest_equal(digest, expected))
		return 0;
	return error_set(error, ERROR_CHECKSUM, "the upload does not have the announced digest; it was discarded");
}

int upload_complete(struct blobs *blobs, const char *id, const struct digest *expected, struct digest *digest,
	struct rounds_error *error)
{
	scoped(text_free) char *path = layout_path(blobs, "uploads", id);
	scoped(file_close) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct upload *upload;
	uint64_t length = 0;
	bool failed;

	pthread_mutex_lock(&blobs->lock);
	upload = upload_known(blobs, id, NULL);
	if (upload)
		length = upload->length;
	pthread_mutex_unlock(&blobs->lock);
	if (upload_take(blobs, id, NULL, length, &upload, error))
		return -1;
	if (fd < 0)
		failed = error_errno(error, "cannot open the upload");
	else
		failed = upload_digest(upload, fd, expected, digest, error) ||
			 layout_publish(blobs, path, fd, digest, error);
	if (failed && error->kind == ERROR_CHECKSUM)
		upload_remove(blobs, id);
	/* One that was given up just now is a blob all the same, which nobody may come to use. */
	(void)!upload_leave(upload, length, !failed, NULL);
	return failed ? -1 : 0;
}

void upload_remove(struct blobs *blobs, const char *id)
{
	struct upload *upload;

	pthread_mutex_lock(&blobs->lock);
	upload = upload_known(blobs, id, NULL);
	if (upload && upload->state == TAKEN) {
		upload->given_up = true;
		upload = NULL;
	}
	if (upload)
		LIST_REMOVE(upload, place);
	pthread_mutex_unlock(&blobs->lock);
	if (upload)
		upload_end_for_good(upload);
}
