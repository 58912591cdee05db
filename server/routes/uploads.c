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
	reply_header(request, "Tus-Max-Size", "%llu", (unsigned long long)app->upload_limit);
	return reply_empty(request, 204);
}

struct upload_call {
	struct app *app;
	struct new_upload row;
	const char *id, *owner;
	json_t *found;
	struct upload *upload;
	char digest[DIGEST_TEXT_SIZE];
};

static int insert_upload(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct upload_call *call = argument;

	return upload_insert(tx, &call->row, error);
}

static int find_upload(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct upload_call *call = argument;

	return upload_find(tx, call->id, call->owner, &call->found, error);
}

static int delete_upload(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct upload_call *call = argument;

	return upload_delete(tx, call->id, error);
}

/* All bytes are there: makes them a blob. */
static int complete(struct app *app, const char *id, uint64_t length, const char *expected, const char *owner,
	struct rounds_error *error)
{
	struct digest wanted, digest;
	struct upload_call call = { .id = id };
	struct rounds_error ignored;

	if (!upload_complete(app->blobs, id, length, expected && digest_parse(expected, &wanted) ? &wanted : NULL,
		    &digest, error))
		return engine_blob_stored(app->engine, &digest, length, owner, id, error);
	if (error->kind == ERROR_CHECKSUM && store_write(app->store, delete_upload, &call, &ignored))
		*error = ignored;
	return -1;
}

static int check_creation(
	struct request *request, struct app *app, struct upload_call *call, struct rounds_error *error)
{
	struct digest digest;

	if (check_version(request, error) || header_number(request, "Upload-Length", &call->row.length, error))
		return -1;
	if (call->row.length > app->upload_limit)
		return error_set(error, ERROR_TOO_LARGE, "an upload may have at most %llu bytes",
			(unsigned long long)app->upload_limit);
	if (call->row.length > blobs_space(app->blobs))
		return error_set(error, ERROR_NO_SPACE, "the server has no room for %llu bytes now",
			(unsigned long long)call->row.length);
	call->row.metadata = request_header(request, "Upload-Metadata");
	if (call->row.metadata && strlen(call->row.metadata) > 2000)
		return error_set(error, ERROR_INVALID, "Upload-Metadata may have at most 2000 characters");
	if (!metadata_value(call->row.metadata, "digest", call->digest, sizeof(call->digest)))
		return 0;
	if (!digest_parse(call->digest, &digest))
		return error_set(error, ERROR_INVALID,
			"the digest in Upload-Metadata must be sha256: and 64 hexadecimal digits");
	call->row.digest = call->digest;
	return 0;
}

/* What came along with the creation. */
static int take_first(struct app *app, struct upload_call *call, const char *bytes, size_t size, uint64_t *offset,
	struct rounds_error *error)
{
	struct upload *upload;
	int failed;

	*offset = 0;
	if (size > 0) {
		if (upload_begin(app->blobs, call->row.id, 0, call->row.length, &upload, error))
			return -1;
		failed = upload_write(upload, bytes, size, error);
		if (upload_end(upload, offset, error) || failed)
			return -1;
	}
	return 0;
}

/* All of it came at once: the upload is over before anyone could ask for it, and needs no row. */
static int take_whole(struct app *app, const struct upload_call *call, struct rounds_error *error)
{
	struct digest wanted, digest;

	if (upload_complete(app->blobs, call->row.id, call->row.length,
		    call->row.digest && digest_parse(call->row.digest, &wanted) ? &wanted : NULL, &digest, error))
		return -1;
	return engine_blob_stored(app->engine, &digest, call->row.length, call->row.owner, NULL, error);
}

enum outcome upload_post(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	char id[UUID_TEXT_SIZE], owner[80];
	struct upload_call call = {
		.row = { .id = id, .owner = owner, .expires_us = clock_wall_us() + EXPIRES_US },
	};
	uint64_t offset;
	size_t size;
	const char *bytes = request_body(request, &size);

	tus_headers(request);
	caller_owner(request_caller(request), owner);
	uuid_new(id);
	if (check_creation(request, app, &call, &error) ||
		(size < call.row.length && store_write(app->store, insert_upload, &call, &error)) ||
		upload_create(app->blobs, id, &error) || take_first(app, &call, bytes, size, &offset, &error) ||
		(offset == call.row.length && take_whole(app, &call, &error))) {
		upload_remove(app->blobs, id);
		return reply_error(request, &error);
	}
	reply_header(request, "Location", "/api/v1/uploads/%s", id);
	reply_header(request, "Upload-Offset", "%llu", (unsigned long long)offset);
	if (offset < call.row.length)
		expires_header(request, call.row.expires_us);
	return reply_empty(request, 201);
}

/* Ownership first: another's upload is as unknown as one that never was. */
static int look_up(struct request *request, struct app *app, struct upload_call *call, struct rounds_error *error)
{
	call->id = request_parameter(request, "upload");
	return check_version(request, error) || store_read(app->store, find_upload, call, error) ? -1 : 0;
}

enum outcome upload_head(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	char owner[80];
	struct upload_call call = { .owner = owner };
	json_auto_t *found = NULL;
	uint64_t offset;

	tus_headers(request);
	caller_owner(request_caller(request), owner);
	if (look_up(request, app, &call, &error))
		return reply_error(request, &error);
	found = call.found;
	offset = (uint64_t)json_integer_or(found, "length", 0);
	if (!json_text_or(found, "blob", NULL)) {
		/* All bytes may have arrived without having been made a blob: an empty PATCH does it. */
		if (upload_offset(app->blobs, call.id, &offset, &error))
			return reply_error(request, &error);
		expires_header(request, json_integer_or(found, "expires_us", 0));
	}
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

static void call_free(struct upload_call *call)
{
	if (!call)
		return;
	json_decref(call->found);
	free(call);
}

static int begin(struct request *request, struct upload_call *call, struct rounds_error *error)
{
	const char *type = request_header(request, "Content-Type");
	uint64_t offset, length;

	if (!type || strcmp(type, "application/offset+octet-stream") != 0)
		return error_set(error, ERROR_MEDIA_TYPE, "send application/offset+octet-stream");
	if (header_number(request, "Upload-Offset", &offset, error) || look_up(request, call->app, call, error))
		return -1;
	if (json_text_or(call->found, "blob", NULL))
		return error_set(error, ERROR_CONFLICT, "this upload is complete");
	length = (uint64_t)json_integer_or(call->found, "length", 0);
	if (upload_begin(call->app->blobs, call->id, offset, length, &call->upload, error))
		return -1;
	if (!expect_checksum(request, call->upload, error))
		return 0;
	(void)!upload_end(call->upload, &offset, NULL);
	return -1;
}

static int sink_open(struct request *request, void *context, struct rounds_error *error)
{
	struct upload_call *call = calloc(1, sizeof(*call));
	char owner[80];

	if (!call)
		return error_no_memory(error);
	tus_headers(request);
	caller_owner(request_caller(request), owner);
	call->app = context;
	call->owner = owner;
	if (begin(request, call, error)) {
		call_free(call);
		return -1;
	}
	*request_stream(request) = call;
	return 0;
}

static int sink_write(struct request *request, const void *bytes, size_t size, struct rounds_error *error)
{
	struct upload_call *call = *request_stream(request);

	return upload_write(call->upload, bytes, size, error);
}

/* Also after an answered PATCH: what is still open is closed. */
static void sink_abandon(struct request *request)
{
	struct upload_call *call = *request_stream(request);
	uint64_t offset;

	if (call && call->upload)
		(void)!upload_end(call->upload, &offset, NULL);
	call_free(call);
	*request_stream(request) = NULL;
}

const struct body_sink upload_sink = { sink_open, sink_write, sink_abandon };

enum outcome upload_patch(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct upload_call *call = *request_stream(request);
	uint64_t offset, length = (uint64_t)json_integer_or(call->found, "length", 0);
	struct upload *upload = call->upload;
	char owner[80];

	call->upload = NULL;
	caller_owner(request_caller(request), owner);
	if (upload_end(upload, &offset, &error))
		return reply_error(request, &error);
	if (offset == length &&
		complete(app, call->id, length, json_text_or(call->found, "digest", NULL), owner, &error))
		return reply_error(request, &error);
	reply_header(request, "Upload-Offset", "%llu", (unsigned long long)offset);
	if (offset < length)
		expires_header(request, json_integer_or(call->found, "expires_us", 0));
	return reply_empty(request, 204);
}

enum outcome upload_remove_one(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	char owner[80];
	struct upload_call call = { .owner = owner };

	tus_headers(request);
	caller_owner(request_caller(request), owner);
	if (look_up(request, app, &call, &error))
		return reply_error(request, &error);
	json_decref(call.found);
	if (store_write(app->store, delete_upload, &call, &error))
		return reply_error(request, &error);
	upload_remove(app->blobs, call.id);
	return reply_empty(request, 204);
}
