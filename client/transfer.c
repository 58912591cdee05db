#include "client/transfer.h"

#include "common/file.h"
#include "common/text.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file up to this size travels along with the creation of its upload: one round trip. */
enum { SMALL = 1000 * 1000 };

static int check_and_keep(
	const char *part, const char *path, int fd, const struct digest *digest, struct rounds_error *error)
{
	struct digest actual;
	struct stat status;

	if (fstat(fd, &status))
		return error_errno(error, "cannot look at %s", part);
	if (digest_file(fd, (uint64_t)status.st_size, &actual, error))
		return -1;
	if (!digest_equal(&actual, digest)) {
		unlink(part);
		return error_set(error, ERROR_CHECKSUM, "what was downloaded does not have the announced digest");
	}
	return rename(part, path) ? error_errno(error, "cannot name %s", path) : 0;
}

int transfer_download(struct connection *connection, const struct digest *digest, const char *path,
	const struct transfer_options *options, struct rounds_error *error)
{
	scoped(text_free) char *part = text_new("%s.part", path);
	scoped(file_close) int fd = -1;
	char text[DIGEST_TEXT_SIZE], from[DIGEST_TEXT_SIZE + 40];
	uint64_t limit = options->limit ? options->limit : UINT64_MAX;
	struct stat status;

	digest_format(digest, text);
	snprintf(from, sizeof(from), "/api/v1/blobs/%s", text);
	if (!part)
		return error_no_memory(error);
	fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &status))
		return error_errno(error, "cannot open %s", part);
	if (connection_download(
		    connection, from, fd, (uint64_t)status.st_size, limit, options->moved, options->context, error) &&
		connection_status(connection) != 416) { /* all of it had come before */
		if (error->kind == ERROR_TOO_LARGE)
			unlink(part);
		return -1;
	}
	return check_and_keep(part, path, fd, digest, error);
}

static int upload_headers(struct connection *connection, struct rounds_error *error)
{
	return connection_header(connection, "Content-Type: application/offset+octet-stream", error) ||
			       connection_header(connection, "Tus-Resumable: 1.0.0", error)
		       ? -1
		       : 0;
}

static int create(struct connection *connection, int fd, uint64_t size, const struct digest *digest,
	char upload[UPLOAD_PATH_SIZE], const struct transfer_options *options, struct rounds_error *error)
{
	char text[DIGEST_TEXT_SIZE], line[200];
	unsigned char encoded[4 * ((DIGEST_TEXT_SIZE + 2) / 3) + 1];
	uint64_t along = size <= SMALL ? size : 0;
	const char *location;

	digest_format(digest, text);
	EVP_EncodeBlock(encoded, (const unsigned char *)text, (int)strlen(text));
	snprintf(line, sizeof(line), "Upload-Metadata: digest %s", encoded);
	if (connection_header(connection, line, error))
		return -1;
	snprintf(line, sizeof(line), "Upload-Length: %llu", (unsigned long long)size);
	if (connection_header(connection, line, error) || upload_headers(connection, error))
		return -1;
	if (connection_upload(
		    connection, "POST", "/api/v1/uploads", fd, 0, along, options->moved, options->context, error))
		return -1;
	location = connection_answer_header(connection, "location");
	if (!location || strlen(location) >= UPLOAD_PATH_SIZE || location[0] != '/')
		return error_set(error, ERROR_INTERNAL, "the server did not say where to upload");
	strcpy(upload, location);
	return 0;
}

/* How much the server has; a forgotten upload begins anew. */
static int ask_offset(
	struct connection *connection, char upload[UPLOAD_PATH_SIZE], uint64_t *offset, struct rounds_error *error)
{
	const char *text;

	if (connection_header(connection, "Tus-Resumable: 1.0.0", error))
		return -1;
	if (connection_call(connection, "HEAD", upload, NULL, 30, NULL, error)) {
		if (connection_status(connection) != 404 && connection_status(connection) != 410)
			return -1;
		upload[0] = '\0';
		return error_set(error, ERROR_UNAVAILABLE, "the server has forgotten the upload; it begins anew");
	}
	text = connection_answer_header(connection, "upload-offset");
	if (!text)
		return error_set(error, ERROR_INTERNAL, "the server did not say how much it has");
	*offset = strtoull(text, NULL, 10);
	return 0;
}

int transfer_upload(struct connection *connection, const char *path, const struct digest *digest,
	char upload[UPLOAD_PATH_SIZE], const struct transfer_options *options, struct rounds_error *error)
{
	scoped(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	uint64_t size, offset = 0;
	char line[60];

	if (fd < 0 || fstat(fd, &status))
		return error_errno(error, "cannot open %s", path);
	size = (uint64_t)status.st_size;
	if (!*upload) {
		if (create(connection, fd, size, digest, upload, options, error))
			return -1;
		if (size <= SMALL)
			return 0;
	} else if (ask_offset(connection, upload, &offset, error)) {
		return -1;
	}
	if (offset > size)
		return error_set(error, ERROR_INTERNAL, "the server has more bytes than the file");
	snprintf(line, sizeof(line), "Upload-Offset: %llu", (unsigned long long)offset);
	if (connection_header(connection, line, error) || upload_headers(connection, error))
		return -1;
	if (connection_upload(connection, "PATCH", upload, fd, offset, size - offset, options->moved,
		    options->context, error)) {
		/* "complete" is what we wanted; its blob is there. */
		if (error->kind == ERROR_CONFLICT && offset == size)
			return 0;
		if (error->kind == ERROR_CHECKSUM || error->kind == ERROR_NOT_FOUND)
			upload[0] = '\0';
		return -1;
	}
	return 0;
}
