#include "server/http/request.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Of a connection: enough for a header block and one large read of a body; address space, touched as needed. */
enum { CONNECTION_MEMORY = 256 * 1024, IDLE_SECONDS = 90, LAST_WORDS_MS = 1000 };

/* Of whoever has not said who they are: a certificate's request is the largest thing that they have to send. */
enum { ANONYMOUS_BODY = 16 * 1024, ANONYMOUS_DROPPED = 64 * 1024 };

/* Beside those that may be open, for each thread: they are there for the moment between being cut and being closed. */
enum { CLOSING = 64 };

static enum MHD_Result queue_reply(struct request *request)
{
	if (!request->response)
		return MHD_NO;
	return MHD_queue_response(request->connection, (unsigned)request->status, request->response);
}

static enum MHD_Result refuse(struct request *request, const struct rounds_error *error)
{
	request->stage = STAGE_REPLIED;
	reply_error(request, error);
	return queue_reply(request);
}

static size_t body_limit(const struct request *request)
{
	size_t limit = request->route->body_limit ? request->route->body_limit : HTTP_BODY_LIMIT;

	return request->caller.kind == CALLER_NOBODY && limit > ANONYMOUS_BODY ? ANONYMOUS_BODY : limit;
}

/* The headers have arrived: who asks, may they, and is the announced size within bounds? */
static enum MHD_Result begin(struct request *request)
{
	struct http *http = request->http;
	const char *length = request_header(request, "Content-Length");
	struct rounds_error error = { 0 };

	if (http->options.guard(request, http->options.app, &error)) {
		wire_known(request->wire, false);
		request->caller = (struct caller){ 0 };
		return refuse(request, &error);
	}
	if (request->caller.kind != CALLER_NOBODY)
		wire_known(request->wire, true);
	if (!request->route->sink && length && strtoull(length, NULL, 10) > body_limit(request)) {
		error_set(&error, ERROR_TOO_LARGE, "the body may have at most %zu bytes", body_limit(request));
		return refuse(request, &error);
	}
	if (request->route->sink) {
		if (request->route->sink->open(request, http->options.app, &error))
			return refuse(request, &error);
		request->stream_open = true;
	}
	return MHD_YES;
}

static int collect(struct request *request, const char *bytes, size_t size, struct rounds_error *error)
{
	if (size > body_limit(request) - request->body_size)
		return error_set(error, ERROR_TOO_LARGE, "the body may have at most %zu bytes", body_limit(request));
	if (request->body_size + size > request->body_room) {
		size_t room = 2 * (request->body_size + size);
		char *more = realloc(request->body, room);

		if (!more)
			return error_no_memory(error);
		request->body = more;
		request->body_room = room;
	}
	memcpy(request->body + request->body_size, bytes, size);
	request->body_size += size;
	return 0;
}

/*
 * A piece of the body. After a refusal the rest is read and dropped, so that the client can read why; false: it has sent
 * more than that is worth.
 */
static bool take(struct request *request, const char *bytes, size_t size)
{
	int failed;

	if (request->refused || request->stage == STAGE_REPLIED) {
		request->dropped += size;
		return request->caller.kind != CALLER_NOBODY || request->dropped <= ANONYMOUS_DROPPED;
	}
	if (request->route->sink)
		failed = request->route->sink->write(request, bytes, size, &request->refusal);
	else
		failed = collect(request, bytes, size, &request->refusal);
	if (failed)
		request->refused = true;
	return true;
}

/* What the framing refused: the connection cannot be read on. */
static enum MHD_Result refuse_and_close(struct request *request, const struct rounds_error *fault)
{
	reply_header(request, "Connection", "close");
	return refuse(request, fault);
}

static enum MHD_Result arrive(
	struct http *http, struct MHD_Connection *connection, const char *method, const char *url, void **state)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct rounds_error error = { 0 };
	struct request *request;

	if (!info || !info->socket_context)
		return MHD_NO; /* nobody has looked at its bytes */
	*state = request = request_new(http, connection, method, url, &error);
	if (!request)
		return MHD_NO;
	workers_count(http, 1);
	request->wire = info->socket_context;
	if (request->wire->framing.fault.kind)
		return refuse_and_close(request, &request->wire->framing.fault);
	peer_look(&request->wire->peer, connection);
	return error.kind ? refuse(request, &error) : begin(request);
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url, const char *method,
	const char *version, const char *bytes, size_t *size, void **state)
{
	struct http *http = context;
	struct request *request = *state;

	(void)version;
	if (!request)
		return arrive(http, connection, method, url, state);
	if (*size > 0) {
		size_t given = *size;

		*size = 0;
		return take(request, bytes, given) ? MHD_YES : MHD_NO;
	}
	if (request->stage == STAGE_REPLIED)
		return queue_reply(request);
	if (request->wire->framing.fault.kind)
		return refuse_and_close(request, &request->wire->framing.fault);
	if (request->refused)
		return refuse(request, &request->refusal);
	request->stage = STAGE_WORK;
	wire_working(request->wire);
	return workers_hand(http, request) ? MHD_YES : MHD_NO;
}

static void completed(
	void *context, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
	struct request *request = *state;

	(void)context;
	(void)connection;
	(void)code;
	if (!request)
		return;
	wire_resting(request->wire);
	reply_log(request);
	stats_add(request->http, request);
	workers_count(request->http, -1);
	request_free(request);
	*state = NULL;
}

static void connection_changed(
	void *context, struct MHD_Connection *connection, void **state, enum MHD_ConnectionNotificationCode code)
{
	struct http *http = context;
	const union MHD_ConnectionInfo *socket, *address, *session;

	if (code != MHD_CONNECTION_NOTIFY_STARTED) {
		if (*state)
			wire_free(*state);
		return;
	}
	socket = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	address = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	session = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	*state = wire_new(&http->wires, connection, socket->connect_fd, address->client_addr, session->tls_session);
	if (*state)
		tap_session(session->tls_session, *state);
}

static void library_log(void *context, const char *format, va_list arguments)
{
	char text[300];

	(void)context;
	if (vsnprintf(text, sizeof(text), format, arguments) > 0)
		log_debug("http library", "text", text, NULL);
}

static int daemon_start(struct http *http, struct rounds_error *error)
{
	const struct http_options *options = &http->options;
	int listener;

	if (listen_open(options, &listener, &http->port, error))
		return -1;
	/* The library closes the socket, also where it fails. */
	http->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TLS |
						MHD_USE_ITC | MHD_USE_ERROR_LOG,
		0, NULL, NULL, answer, http, MHD_OPTION_EXTERNAL_LOGGER, library_log, NULL, MHD_OPTION_LISTEN_SOCKET,
		listener, MHD_OPTION_THREAD_POOL_SIZE, options->io_threads, MHD_OPTION_CONNECTION_LIMIT,
		options->connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_HTTPS_CERT_CALLBACK,
		certificate_choose, MHD_OPTION_HTTPS_MEM_TRUST, options->authority_pem, MHD_OPTION_HTTPS_PRIORITIES,
		"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
		"%SERVER_PRECEDENCE",
		MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, http,
		MHD_OPTION_END);
	if (!http->daemon)
		return error_set(error, ERROR_UNAVAILABLE, "the HTTP library does not start: %s",
			errno ? strerror(errno) : "see the log with --log-level debug");
	return 0;
}

int http_new(const struct http_options *options, struct http **out, struct rounds_error *error)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http)
		return error_no_memory(error);
	http->options = *options;
	http->stats = calloc(http_route_count(http) + 1, sizeof(*http->stats));
	if (!http->stats) {
		free(http);
		return error_no_memory(error);
	}
	pthread_mutex_init(&http->stream_lock, NULL);
	wires_init(&http->wires, options->connections, options->anonymous);
	http->wires.proxies = options->proxies;
	http->wires.proxy_count = options->proxy_count;
	workers_init(http);
	*out = http;
	return 0;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	workers_destroy(http);
	wires_destroy(&http->wires);
	certificates_forget();
	pthread_mutex_destroy(&http->stream_lock);
	free(http->stats);
	free(http);
}

int http_start(struct http *http, struct rounds_error *error)
{
	return tap_start(error) || workers_start(http, error) || wires_start(&http->wires, error) ||
			       handshakes_start(&http->wires.handshakes, error) || daemon_start(http, error)
		       ? -1
		       : 0;
}

uint16_t http_port(const struct http *http)
{
	return http->port;
}

void http_stop(struct http *http)
{
	/* MHD_quiesce_daemon is not used: its threads may take the socket off their epoll sets twice, and then it aborts. */
	http_drain(http);
	workers_stop(http); /* every suspended connection has been resumed by its worker when they have ended */
	/* What they answered is still to be sent. */
	for (int waited = 0; workers_in_flight(http) > 0 && waited < LAST_WORDS_MS; waited++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
	handshakes_stop(&http->wires);
	if (http->daemon)
		MHD_stop_daemon(http->daemon);
	http->daemon = NULL;
	wires_stop(&http->wires);
}
