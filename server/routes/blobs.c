#include "server/routes/app.h"

#include "common/json.h"
#include "common/tensors.h"
#include "server/aggregate/summary.h"
#include "server/store/blob_index.h"

#include <stdio.h>
#include <string.h>

/* Each costs a kilobyte while it is told. */
enum { DESCRIBED_LIMIT = 20000 };

struct access {
	const struct caller *caller;
	const char *digest;
	bool allowed;
};

/* Only what the index names is durable. */
static int check_access(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct access *access = argument;
	json_auto_t *known = NULL;

	if (blob_index_find(tx, access->digest, &known, error))
		return -1;
	if (!known)
		return error_set(error, ERROR_NOT_FOUND, "there is no such blob");
	access->allowed = access->caller->kind != CALLER_SITE;
	return access->allowed ? 0 : site_may_read(tx, access->caller->name, access->digest, &access->allowed, error);
}

static int hold_blob(struct request *request, struct app *app, struct view *view, struct rounds_error *error)
{
	const char *text = request_parameter(request, "digest");
	struct access access = { request_caller(request), text, false };
	struct digest digest;

	if (!digest_parse(text, &digest))
		return error_set(error, ERROR_NOT_FOUND, "a blob is named by sha256: and 64 hexadecimal digits");
	if (store_read(app->store, check_access, &access, error))
		return -1;
	if (!access.allowed)
		return error_set(error, ERROR_NOT_FOUND, "there is no such blob");
	return blob_hold(app->blobs, &digest, view, error);
}

/* One range (RFC 9110, section 14): true if it can be served; anything else is answered whole. */
enum range { RANGE_NONE, RANGE_GOOD, RANGE_BEYOND };

static enum range parse_range(const char *header, uint64_t size, uint64_t *begin, uint64_t *length)
{
	unsigned long long first, last;
	char rest;

	*begin = 0;
	*length = size;
	/* Numbers are digits alone: scanf would take signs and spaces as well. */
	if (!header || strncmp(header, "bytes=", 6) != 0 || header[6 + strspn(header + 6, "0123456789-")] ||
		strstr(header, "--"))
		return RANGE_NONE;
	if (sscanf(header, "bytes=%llu-%llu%c", &first, &last, &rest) == 2 && first <= last) {
		if (first >= size)
			return RANGE_BEYOND;
		*begin = first;
		*length = (last < size ? last + 1 : size) - first;
		return RANGE_GOOD;
	}
	if (sscanf(header, "bytes=-%llu%c", &last, &rest) == 1) {
		if (last == 0)
			return RANGE_BEYOND;
		if (size == 0)
			return RANGE_NONE; /* satisfied by nothing, which no Content-Range can say */
		*begin = last < size ? size - last : 0;
		*length = size - *begin;
		return RANGE_GOOD;
	}
	if (sscanf(header, "bytes=%llu%c", &first, &rest) == 2 && rest == '-' && header[strlen(header) - 1] == '-') {
		if (first >= size)
			return RANGE_BEYOND;
		*begin = first;
		*length = size - first;
		return RANGE_GOOD;
	}
	return RANGE_NONE;
}

enum outcome blob_get(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	const char *match = request_header(request, "If-None-Match"), *text = request_parameter(request, "digest");
	const char *if_range = request_header(request, "If-Range");
	uint64_t begin, length;
	enum range range;
	struct view view;

	if (hold_blob(request, app, &view, &error))
		return reply_error(request, &error);
	reply_header(request, "ETag", "\"%s\"", text);
	reply_header(request, "Accept-Ranges", "bytes");
	if (match && strstr(match, text)) {
		view_release(view);
		return reply_empty(request, 304);
	}
	range = parse_range(if_range && !strstr(if_range, text) ? NULL : request_header(request, "Range"), view.size,
		&begin, &length);
	if (range == RANGE_BEYOND) {
		reply_header(request, "Content-Range", "bytes */%llu", (unsigned long long)view.size);
		view_release(view);
		return reply_empty(request, 416);
	}
	if (range == RANGE_GOOD)
		reply_header(request, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)begin,
			(unsigned long long)(begin + length - 1), (unsigned long long)view.size);
	reply_header(request, "Content-Type", "application/octet-stream");
	return reply_view(request, range == RANGE_GOOD ? 206 : 200, view, begin, length);
}

enum outcome blob_tensors(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	scoped(view_release) struct view view = { 0 };
	struct tensor_file file;
	int64_t bins = 0;
	json_t *list, *answer, *said = NULL;
	const char *schema;

	if (request_query_integer(request, "histogram", 1, SUMMARY_BINS_LIMIT, &bins, &error) ||
		hold_blob(request, app, &view, &error) || tensor_file_of(&view, &file, &error))
		return reply_error(request, &error);
	if (file.tensors->count > DESCRIBED_LIMIT) {
		error_set(&error, ERROR_UNPROCESSABLE, "it has %zu tensors; files with at most %d are described",
			file.tensors->count, DESCRIBED_LIMIT);
		tensor_file_close(file);
		return reply_error(request, &error);
	}
	list = tensors_describe(file.tensors);
	for (size_t i = 0; bins > 0 && i < file.tensors->count; i++)
		json_object_set_new(json_array_get(list, i), "summary",
			tensor_summary(&file, &file.tensors->list[i], (size_t)bins));
	schema = tensors_metadata(file.tensors, SCHEMA_KEY);
	answer = json_pack("{s:o, s:o}", "items", list, "schema",
		schema && !json_parse(schema, strlen(schema), &said, &error) ? said : json_null());
	tensor_file_close(file);
	return reply_json(request, 200, answer);
}
