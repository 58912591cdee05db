/* Finds the route of a request: the table is short, so it is walked. */
#include "server/http/request.h"

#include "common/clock.h"
#include "common/json.h"

#include <stdio.h>
#include <string.h>

/* Compares a path with a pattern segment by segment; cuts the values of {names} out of `path`, which it changes. */
static bool path_matches(const char *pattern, char *path, char **values)
{
	int found = 0;

	for (; *pattern; pattern++) {
		if (*pattern != '{') {
			if (*pattern != *path++)
				return false;
			continue;
		}
		size_t length = strcspn(path, "/");
		if (length == 0 || found == ROUTE_PARAMETERS)
			return false;
		pattern = strchr(pattern, '}');
		if (path[length] && !pattern[1])
			return false;
		values[found++] = path;
		path += length;
		if (pattern[1]) { /* the segment ends with '/', as the pattern's does */
			if (*path != '/')
				return false;
			*path++ = '\0';
			pattern++;
		}
	}
	return *path == '\0';
}

/* The methods of a path, as Allow lists them. */
static void allow(struct http *http, const char *url, struct request *request)
{
	char methods[200] = "";
	size_t used = 0;

	for (const struct route *route = http->options.routes; route->method; route++) {
		strcpy(request->path_copy, url);
		if (path_matches(route->path, request->path_copy, request->values) && used < sizeof(methods))
			used += (size_t)snprintf(methods + used, sizeof(methods) - used, "%s%s%s", used ? ", " : "",
				route->method, strcmp(route->method, "GET") ? "" : ", HEAD");
	}
	reply_header(request, "Allow", "%s", methods);
}

static const struct route *find(
	struct http *http, const char *method, const char *url, struct request *request, bool *path_known)
{
	for (const struct route *route = http->options.routes; route->method; route++) {
		strcpy(request->path_copy, url);
		memset(request->values, 0, sizeof(request->values));
		if (!path_matches(route->path, request->path_copy, request->values))
			continue;
		*path_known = true;
		/* HEAD is GET without the body, which libmicrohttpd leaves out; tus has a HEAD of its own. */
		if (!strcmp(route->method, method) || (!strcmp(method, "HEAD") && !strcmp(route->method, "GET")))
			return route;
	}
	return NULL;
}

struct request *request_new(struct http *http, struct MHD_Connection *connection, const char *method, const char *url,
	struct rounds_error *error)
{
	struct request *request = calloc(1, sizeof(*request));
	bool path_known = false;

	if (!request || !(request->path = strdup(url)) || !(request->path_copy = malloc(strlen(url) + 1))) {
		if (request)
			request_free(request);
		return NULL;
	}
	request->http = http;
	request->connection = connection;
	request->started = clock_steady_us();
	uuid_new(world_real(), request->id);
	request->route = find(http, method, url, request, &path_known);
	if (!request->route && path_known) {
		allow(http, url, request);
		error_set(error, ERROR_METHOD, "%.40s is not possible on this path", method);
	} else if (!request->route) {
		error_set(error, ERROR_NOT_FOUND, "there is nothing at this path; see /api/v1/openapi.json");
	}
	return request;
}

void request_free(struct request *request)
{
	if (request->stream_open && request->route->sink->abandon)
		request->route->sink->abandon(request);
	if (request->response)
		MHD_destroy_response(request->response);
	reply_forget_fields(request);
	free(request->path);
	free(request->path_copy);
	free(request->body);
	free(request);
}

const struct route *request_route(const struct request *request)
{
	return request->route;
}

const char *request_id(const struct request *request)
{
	return request->id;
}

const char *request_path(const struct request *request)
{
	return request->path;
}

const char *request_parameter(const struct request *request, const char *name)
{
	size_t length = strlen(name);
	int index = 0;

	for (const char *at = strchr(request->route->path, '{'); at; at = strchr(at + 1, '{'), index++)
		if (!strncmp(at + 1, name, length) && at[1 + length] == '}')
			return request->values[index];
	return "";
}

const char *request_query(const struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *request_header(const struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *request_cookie(const struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_COOKIE_KIND, name);
}

const char *request_address(const struct request *request)
{
	return request->wire->peer.address;
}

const char *request_body(const struct request *request, size_t *size)
{
	*size = request->body_size;
	return request->body ? request->body : "";
}

int request_json(const struct request *request, json_t **value, struct rounds_error *error)
{
	const char *type = request_header(request, "Content-Type");

	if (type && strncasecmp(type, "application/json", 16) &&
		strncasecmp(type, "application/merge-patch+json", 28))
		return error_set(error, ERROR_MEDIA_TYPE, "send application/json, not %.100s", type);
	if (!request->body_size)
		return error_set(error, ERROR_INVALID, "a JSON body is needed");
	if (json_parse(request->body, request->body_size, value, error))
		return -1;
	if (json_is_object(*value))
		return 0;
	json_decref(*value);
	*value = NULL;
	return error_set(error, ERROR_INVALID, "the body must be a JSON object");
}

int request_query_integer(const struct request *request, const char *name, int64_t min, int64_t max, int64_t *value,
	struct rounds_error *error)
{
	const char *text = request_query(request, name);
	char *end;
	long long number;

	if (!text)
		return 0;
	number = strtoll(text, &end, 10);
	if (!*text || *end || number < min || number > max)
		return error_field(
			error, name, "must be a whole number from %lld to %lld", (long long)min, (long long)max);
	*value = number;
	return 0;
}

struct caller *request_caller(struct request *request)
{
	return &request->caller;
}

void **request_stream(struct request *request)
{
	return &request->stream;
}

struct http *request_http(struct request *request)
{
	return request->http;
}

bool request_peer(const struct request *request, const char **name, const char **serial)
{
	const struct peer *peer = &request->wire->peer;

	if (!peer->verified)
		return false;
	*name = peer->name;
	*serial = peer->serial;
	return true;
}
