/* Answers. Errors are application/problem+json (RFC 9457). */
#include "server/http/request.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { VIEW_BLOCK = 256 * 1024, RETRY_SECONDS = 5 };

/* Without memory for one of its fields there is no answer, rather than one that says something else. */
void reply_header(struct request *request, const char *name, const char *format, ...)
{
	struct reply_field *field = &request->fields[request->field_count];
	va_list arguments;

	if (request->field_count == REPLY_FIELDS)
		return;
	snprintf(field->name, sizeof(field->name), "%s", name);
	va_start(arguments, format);
	if (vasprintf(&field->value, format, arguments) < 0)
		field->value = NULL;
	va_end(arguments);
	request->field_count++;
}

void reply_forget_fields(struct request *request)
{
	while (request->field_count)
		free(request->fields[--request->field_count].value);
}

static bool add_fields(const struct request *request, struct MHD_Response *response)
{
	for (int i = 0; i < request->field_count; i++)
		if (!request->fields[i].value || MHD_add_response_header(response, request->fields[i].name,
							 request->fields[i].value) != MHD_YES)
			return false;
	return true;
}

enum outcome reply_finish(struct request *request, int status, struct MHD_Response *response)
{
	request->status = status;
	request->response = response;
	if (!response)
		return REPLIED; /* the connection is then cut: out of memory */
	if (!add_fields(request, response)) {
		log_error("an answer was cut: no memory for its header, or a value that is none", "request",
			request->id, NULL);
		MHD_destroy_response(response);
		request->response = NULL;
		return REPLIED;
	}
	MHD_add_response_header(response, "Request-Id", request->id);
	if (request->has_waited)
		MHD_add_response_header(response, "Connection", "close");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	return REPLIED;
}

int reply_status(const struct request *request)
{
	return request->status;
}

void reply_withdraw(struct request *request)
{
	if (request->response)
		MHD_destroy_response(request->response);
	request->response = NULL;
	request->status = 0;
	reply_forget_fields(request);
}

enum outcome reply_text(struct request *request, int status, const char *type, char *text)
{
	struct MHD_Response *response;

	if (!text)
		return reply_finish(request, 503, NULL);
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	reply_header(request, "Content-Type", "%s", type);
	reply_header(request, "Cache-Control", "no-store");
	return reply_finish(request, status, response);
}

enum outcome reply_json(struct request *request, int status, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

	json_decref(value);
	return reply_text(request, status, "application/json", text);
}

enum outcome reply_empty(struct request *request, int status)
{
	reply_header(request, "Cache-Control", "no-store");
	return reply_finish(request, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

enum outcome reply_bytes(struct request *request, int status, const void *bytes, size_t size)
{
	return reply_finish(request, status,
		MHD_create_response_from_buffer(size, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT));
}

static json_t *problem(struct request *request, const struct rounds_error *error)
{
	const struct error_kind_info *kind = error_kind_info(error->kind);
	json_t *body = json_pack("{s:o, s:s, s:i, s:s, s:s}", "type", json_sprintf("/problems/%s", kind->slug),
		"title", kind->title, "status", kind->status, "detail", error->message, "instance", request->id);

	if (error->field[0])
		json_object_set_new(body, "field", json_string(error->field));
	return body;
}

static enum outcome reply_problem(struct request *request, const struct rounds_error *error, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	int status = error_kind_info(error->kind)->status;

	json_decref(body);
	if (status >= 500)
		log_error("request failed", "request", request->id, "path", request->path, "reason", error->message,
			NULL);
	if (status == 401)
		reply_header(request, "WWW-Authenticate", "Bearer realm=\"rounds\"");
	if (status == 503 || status == 429)
		reply_header(request, "Retry-After", "%d",
			error->retry_seconds > 0 ? error->retry_seconds : RETRY_SECONDS);
	return reply_text(request, status, "application/problem+json", text);
}

enum outcome reply_error(struct request *request, const struct rounds_error *error)
{
	return reply_problem(request, error, problem(request, error));
}

enum outcome reply_faults(struct request *request, const json_t *faults, struct rounds_error *error)
{
	json_t *body = problem(request, error);

	json_object_set(body, "errors", (json_t *)(uintptr_t)faults);
	return reply_problem(request, error, body);
}

struct part {
	struct view view;
	uint64_t begin, size;
};

static ssize_t part_read(void *context, uint64_t position, char *buffer, size_t room)
{
	const struct part *part = context;
	uint64_t from = part->begin + position;

	if (position >= part->size)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (room > part->size - position)
		room = (size_t)(part->size - position);
	if (view_want(&part->view, from, from + room, NULL))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	memcpy(buffer, part->view.bytes + from, room);
	return (ssize_t)room;
}

static void part_free(void *context)
{
	struct part *part = context;

	view_release(part->view);
	free(part);
}

enum outcome reply_view(struct request *request, int status, struct view view, uint64_t begin, uint64_t size)
{
	struct part *part = malloc(sizeof(*part));

	if (!part) {
		view_release(view);
		return reply_finish(request, 503, NULL);
	}
	*part = (struct part){ view, begin, size };
	return reply_finish(
		request, status, MHD_create_response_from_callback(size, VIEW_BLOCK, part_read, part, part_free));
}

void reply_log(const struct request *request)
{
	char status[12], took[24];

	snprintf(status, sizeof(status), "%d", request->status);
	snprintf(took, sizeof(took), "%.1f", (double)(clock_steady_us() - request->started) / 1000);
	log_debug("request", "request", request->id, "method", request->route ? request->route->method : NULL, "path",
		request->path, "status", status, "ms", took, "caller",
		request->caller.name[0] ? request->caller.name : NULL, NULL);
}
