/* Resumable uploads as tus 1.0.0 describes them: core, creation (with upload), checksum, expiration, termination. */
#include "server/routes/app.h"

#include "common/clock.h"
#include "common/json.h"
#include "server/store/blob_index.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TUS_VERSION "1.0.0"
#define EXPIRES_US  (24 * 3600 * SECOND_US)

enum { METADATA_LIMIT = 2000 };

static void tus_headers(struct request *request)
{
	reply_header(request, "Tus-Resumable", TUS_VERSION);
}

static void expires_header(struct request *request, int64_t expires_us)
{
	time_t seconds = (time_t)(expires_us / SECOND_US);
	struct tm utc;
	char text[40];

	if (gmtime_r(&seconds, &utc) && strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc))
		reply_header(request, "Upload-Expires", "%s", text);
}

static int check_version(struct request *request, struct rounds_error *error)
{
	const char *version = request_header(request, "Tus-Resumable");

	if (version && !strcmp(version, TUS_VERSION))
		return 0;
	reply_header(request, "Tus-Version", TUS_VERSION);
	return error_set(error, ERROR_PRECONDITION, "send `Tus-Resumable: " TUS_VERSION "`");
}

static int header_number(struct request *request, const char *name, uint64_t *number, struct rounds_error *error)
{
	const char *text = request_header(request, name);
	char *end;

	if (!text || !*text || strspn(text, "0123456789") != strlen(text))
		return error_set(error, ERROR_INVALID, "%s must be a number of bytes", name);
	errno = 0;
	*number = strtoull(text, &end, 10);
	return errno || *number > INT64_MAX ? error_set(error, ERROR_TOO_LARGE, "%s is too large", name) : 0;
}

/* Base64 (RFC 4648) into at most `room` bytes; the number of bytes, or -1. */
static int decode(const char *text, size_t length, uint8_t *bytes, size_t room)
{
	uint8_t whole[512];
	int size;

	if (length == 0 || length % 4 != 0 || length > sizeof(whole))
		return -1;
	size = EVP_DecodeBlock(whole, (const unsigned char *)text, (int)length);
	if (size < 0)
		return -1;
	size -= (text[length - 1] == '=') + (text[length - 2] == '=');
	if ((size_t)size > room)
		return -1;
	memcpy(bytes, whole, (size_t)size);
	return size;
}

/* The value of `key` in Upload-Metadata ("key base64,key base64"): false if it is not there. */
static bool metadata_value(const char *metadata, const char *key, char *value, size_t room)
{
	size_t key_length = strlen(key);

	for (const char *at = metadata; at; at = strchr(at, ',')) {
		const char *encoded;
		int size;

		at += strspn(at, ", ");
		if (!*at)
			return false;
		if (strncmp(at, key, key_length) != 0 || at[key_length] != ' ')
			continue;
		encoded = at + key_length + 1;
		size = decode(encoded, strcspn(encoded, ", "), (uint8_t *)value, room - 1);
		if (size < 0)
			return false;
		value[size] = '\0';
		return true;
	}
	return false;
}

enum outcome upload_options(struct request *request, void *context)
{
	struct app *app = context;

	tus_headers(request);
	reply_header(request, "Tus-Version", TUS_VERSION);
	reply_header(request, "Tus-Extension", "creation,creation-with-upload,checksum,expiration,termination");
	reply_header(request, "Tus-Checksum-Algorithm", "sha1,sha256");
	reply_header(request, "Tus-Max-Size", "%llu", (unsigned long long)engine_upload_limits(app->engine)->bytes);
	return reply_empty(request, 204);
}

struct lookup {
	const char *id, *owner;
	json_t *row;
};

static int find_upload(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct lookup *lookup = argument;

	return upload_find(tx, lookup->id, lookup->owner, &lookup->row, error);
}

/* The row of the upload in the path. Ownership first: another's upload is as unknown as one that never was. */
static int look_up(struct request *request, struct app *app, json_t **row, struct rounds_error *error)
{
	char owner[80];
	struct lookup lookup = { .id = request_parameter(request, "upload"), .owner = owner };

	caller_owner(request_caller(request), owner);
	if (store_read(app->store, find_upload, &lookup, error))
		return -1;
	*row = lookup.row;
	return 0;
}

static int check_creation(struct request *request, struct new_upload *row, char digest_text[DIGEST_TEXT_SIZE],
	struct rounds_error *error)
{
	struct digest digest;

	if (check_version(request, error) || header_number(request, "Upload-Length", &row->length, error))
		return -1;
	row->metadata = request_header(request, "Upload-Metadata");
	if (row->metadata && strlen(row->metadata) > METADATA_LIMIT)
		return error_set(
			error, ERROR_INVALID, "Upload-Metadata may have at most %d characters", METADATA_LIMIT);
	if (!metadata_value(row->metadata, "digest", digest_text, DIGEST_TEXT_SIZE))
		return 0;
	if (!digest_parse(digest_text, &digest))
		return error_set(error, ERROR_INVALID,
			"the digest in Upload-Metadata must be sha256: and 64 hexadecimal digits");
	row->digest = digest_text;
	return 0;
}

/* What came along with the creation. */
static int take_first(struct app *app, const struct new_upload *row, const char *bytes, size_t size, uint64_t *offset,
	struct rounds_error *error)
{
	struct upload *upload;
	int failed;

	*offset = 0;
	if (size > 0) {
		if (upload_begin(app->blobs, row->id, row->owner, 0, &upload, error))
			return -1;
		failed = upload_write(upload, bytes, size, error);
		if (upload_end(upload, offset, failed ? NULL : error) || failed)
			return -1;
	}
	return *offset < row->length ? 0
				     : engine_upload_complete(app->engine, row->id, row->owner, row->digest, error);
}

enum outcome upload_post(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 }, ignored;
	char id[UUID_TEXT_SIZE], owner[80], digest[DIGEST_TEXT_SIZE];
	struct new_upload row = { .id = id, .owner = owner, .expires_us = world_wall_us(app->world) + EXPIRES_US };
	uint64_t offset;
	size_t size;
	const char *bytes = request_body(request, &size);

	tus_headers(request);
	caller_owner(request_caller(request), owner);
	uuid_new(app->world, id);
	if (check_creation(request, &row, digest, &error) ||
		engine_upload_new(app->engine, &row, size >= row.length, &error))
		return reply_error(request, &error);
	if (take_first(app, &row, bytes, size, &offset, &error)) {
		(void)!engine_upload_drop(app->engine, id, &ignored);
		return reply_error(request, &error);
	}
	reply_header(request, "Location", "/api/v1/uploads/%s", id);
	reply_header(request, "Upload-Offset", "%llu", (unsigned long long)offset);
	if (offset < row.length)
		expires_header(request, row.expires_us);
	return reply_empty(request, 201);
}

enum outcome upload_head(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *found = NULL;
	uint64_t offset;

	tus_headers(request);
	if (check_version(request, &error) || look_up(request, app, &found, &error) ||
		upload_offset(app->blobs, request_parameter(request, "upload"), &offset, &error))
		return reply_error(request, &error);
	/* All bytes may have arrived without having been made a blob: an empty PATCH does it. */
	if (!json_text_or(found, "blob", NULL))
		expires_header(request, json_integer_or(found, "expires_us", 0));
	reply_header(request, "Upload-Offset", "%llu", (unsigned long long)offset);
	reply_header(request, "Upload-Length", "%llu", (unsigned long long)json_integer_or(found, "length", 0));
	if (json_text_or(found, "metadata", NULL))
		reply_header(request, "Upload-Metadata", "%s", json_text_or(found, "metadata", ""));
	return reply_empty(request, 200);
}

static int expect_checksum(struct request *request, struct upload *upload, struct rounds_error *error)
{
	const char *text = request_header(request, "Upload-Checksum");
	char algorithm[16] = "";
	uint8_t sum[64];
	size_t length;
	int size;

	if (!text)
		return 0;
	length = strcspn(text, " ");
	if (text[length] && length < sizeof(algorithm))
		memcpy(algorithm, text, length);
	size = text[length] ? decode(text + length + 1, strlen(text + length + 1), sum, sizeof(sum)) : -1;
	return upload_expect(upload, algorithm, sum, size < 0 ? 0 : (size_t)size, error);
}

/* On an I/O thread: what is needed of the upload is in memory. */
static int sink_open(struct request *request, void *context, struct rounds_error *error)
{
	struct app *app = context;
	const char *type = request_header(request, "Content-Type");
	struct upload *upload;
	char owner[80];
	uint64_t offset;

	tus_headers(request);
	caller_owner(request_caller(request), owner);
	if (!type || strcmp(type, "application/offset+octet-stream") != 0)
		return error_set(error, ERROR_MEDIA_TYPE, "send application/offset+octet-stream");
	if (check_version(request, error) || header_number(request, "Upload-Offset", &offset, error) ||
		upload_begin(app->blobs, request_parameter(request, "upload"), owner, offset, &upload, error))
		return -1;
	if (expect_checksum(request, upload, error)) {
		(void)!upload_end(upload, &offset, NULL);
		return -1;
	}
	*request_stream(request) = upload;
	return 0;
}

static int sink_write(struct request *request, const void *bytes, size_t size, struct rounds_error *error)
{
	return upload_write(*request_stream(request), bytes, size, error);
}

/* Also after an answered PATCH, which has ended it itself. */
static void sink_abandon(struct request *request)
{
	struct upload *upload = *request_stream(request);
	uint64_t offset;

	if (upload)
		(void)!upload_end(upload, &offset, NULL);
	*request_stream(request) = NULL;
}

const struct body_sink upload_sink = { sink_open, sink_write, sink_abandon };

enum outcome upload_patch(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct upload *upload = *request_stream(request);
	const char *id = request_parameter(request, "upload");
	json_auto_t *found = NULL;
	uint64_t offset, length;
	char owner[80];

	*request_stream(request) = NULL;
	caller_owner(request_caller(request), owner);
	if (upload_end(upload, &offset, &error) || look_up(request, app, &found, &error))
		return reply_error(request, &error);
	length = (uint64_t)json_integer_or(found, "length", 0);
	if (offset == length &&
		engine_upload_complete(app->engine, id, owner, json_text_or(found, "digest", NULL), &error))
		return reply_error(request, &error);
	reply_header(request, "Upload-Offset", "%llu", (unsigned long long)offset);
	if (offset < length)
		expires_header(request, json_integer_or(found, "expires_us", 0));
	return reply_empty(request, 204);
}

enum outcome upload_remove_one(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *found = NULL;

	tus_headers(request);
	if (check_version(request, &error) || look_up(request, app, &found, &error) ||
		engine_upload_drop(app->engine, request_parameter(request, "upload"), &error))
		return reply_error(request, &error);
	return reply_empty(request, 204);
}

struct loads {
	const char *owner; /* NULL: all */
	json_t *rows;
};

static int list_loads(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct loads *loads = argument;

	return owner_loads(tx, loads->owner, &loads->rows, error);
}

enum outcome upload_loads(struct request *request, void *context)
{
	struct app *app = context;
	const struct upload_limits *limits = engine_upload_limits(app->engine);
	struct rounds_error error = { 0 };
	const struct caller *caller = request_caller(request);
	char owner[80];
	struct loads loads = { scope_is_all(caller->scope) ? NULL : owner, NULL };

	caller_owner(caller, owner);
	if (store_read(app->store, list_loads, &loads, &error))
		return reply_error(request, &error);
	return reply_json(request, 200,
		json_pack("{s:o, s:{s:I, s:I, s:I}}", "items", loads.rows, "limits", "upload_bytes",
			(json_int_t)limits->bytes, "owner_bytes", (json_int_t)limits->owner_bytes, "owner_count",
			(json_int_t)limits->owner_count));
}
