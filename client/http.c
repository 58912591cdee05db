#include "client/http.h"

#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	ANSWER_LIMIT = 64 << 20,
	HEADERS_LIMIT = 100,
	STALLED_SECONDS = 60,
	CONNECT_SECONDS = 20,
	BUFFER = 512 * 1024,
	LIFETIME_SECONDS = 86400
};

struct transfer {
	int fd; /* the file that moves, or -1 */
	uint64_t offset, left, moved, limit;
	moved_fn *told;
	void *context;
	struct rounds_error error; /* of the file */
};

struct connection {
	CURL *curl;
	char *url;
	const atomic_bool *stop;
	long patience_ms;
	size_t answer_limit;
	struct curl_slist *headers; /* of the next call */
	bool has_token, untrusted;
	char *authorization;
	char *body; /* of the answer */
	size_t body_size;
	json_t *answer_headers; /* {lower-case name: value} */
	json_t *faults;         /* of a problem that lists them */
	long status;
	double round_trip;
	char reason[CURL_ERROR_SIZE];
	struct transfer transfer;
};

void http_global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t take_body(char *bytes, size_t one, size_t count, void *context)
{
	struct connection *connection = context;
	struct transfer *transfer = &connection->transfer;
	size_t size = one * count;
	long status = 0;
	char *more;

	curl_easy_getinfo(connection->curl, CURLINFO_RESPONSE_CODE, &status);
	if (transfer->fd >= 0 && transfer->left == 0 && (status == 200 || status == 206)) {
		/* A server that ignores the range sends all of it again. */
		if (status == 200)
			transfer->offset = transfer->moved;
		if (size > transfer->limit || transfer->offset > transfer->limit - size) {
			error_set(&transfer->error, ERROR_TOO_LARGE,
				"the server sends more than the %llu bytes that may come",
				(unsigned long long)transfer->limit);
			return 0;
		}
		if (file_pwrite_all(transfer->fd, bytes, size, transfer->offset, &transfer->error))
			return 0;
		transfer->offset += size;
		transfer->moved += size;
		return size;
	}
	if (size > connection->answer_limit - connection->body_size) {
		error_set(&transfer->error, ERROR_UNAVAILABLE, "the server's answer has more than %zu bytes",
			connection->answer_limit);
		return 0;
	}
	more = realloc(connection->body, connection->body_size + size + 1);
	if (!more)
		return 0;
	connection->body = more;
	memcpy(more + connection->body_size, bytes, size);
	connection->body_size += size;
	more[connection->body_size] = '\0';
	return size;
}

static size_t give_body(char *bytes, size_t one, size_t count, void *context)
{
	struct connection *connection = context;
	struct transfer *transfer = &connection->transfer;
	size_t room = one * count;
	ssize_t got;

	if (room > transfer->left)
		room = (size_t)transfer->left;
	if (room == 0)
		return 0;
	got = pread(transfer->fd, bytes, room, (off_t)transfer->offset);
	if (got <= 0) {
		error_errno(&transfer->error, "cannot read the file to send");
		return CURL_READFUNC_ABORT;
	}
	transfer->offset += (uint64_t)got;
	transfer->left -= (uint64_t)got;
	transfer->moved += (uint64_t)got;
	return (size_t)got;
}

static size_t take_header(char *bytes, size_t one, size_t count, void *context)
{
	struct connection *connection = context;
	size_t size = one * count;
	char *colon = memchr(bytes, ':', size);
	char name[80];
	size_t length = colon ? (size_t)(colon - bytes) : 0;

	if (length == 0 || length >= sizeof(name) || json_object_size(connection->answer_headers) >= HEADERS_LIMIT)
		return size;
	for (size_t i = 0; i < length; i++)
		name[i] = (char)(bytes[i] >= 'A' && bytes[i] <= 'Z' ? bytes[i] + 32 : bytes[i]);
	name[length] = '\0';
	colon++;
	while (colon < bytes + size && *colon == ' ')
		colon++;
	length = (size_t)(bytes + size - colon);
	while (length > 0 && (colon[length - 1] == '\r' || colon[length - 1] == '\n'))
		length--;
	json_object_set_new(connection->answer_headers, name, json_text_n(colon, length));
	return size;
}

static int tell(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	struct connection *connection = context;
	struct transfer *transfer = &connection->transfer;

	(void)down_total;
	(void)down;
	(void)up_total;
	(void)up;
	if (connection->stop && atomic_load(connection->stop))
		return 1;
	return transfer->told && !transfer->told(transfer->context, transfer->moved);
}

static void set_identity(CURL *curl, const struct connection_options *options)
{
	if (options->ca_pem) {
		struct curl_blob pem = { (void *)(uintptr_t)options->ca_pem, strlen(options->ca_pem),
			CURL_BLOB_COPY };

		curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &pem);
	}
	if (options->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
	if (options->cert_file)
		curl_easy_setopt(curl, CURLOPT_SSLCERT, options->cert_file);
	if (options->key_file)
		curl_easy_setopt(curl, CURLOPT_SSLKEY, options->key_file);
	if (options->proxy)
		curl_easy_setopt(curl, CURLOPT_PROXY, options->proxy);
	if (options->unverified) {
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	if (options->user && options->password) {
		curl_easy_setopt(curl, CURLOPT_USERNAME, options->user);
		curl_easy_setopt(curl, CURLOPT_PASSWORD, options->password);
	}
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, options->plain ? "https,http" : "https");
}

int connection_new(const struct connection_options *options, struct connection **out, struct rounds_error *error)
{
	scoped(connection_free) struct connection *connection = calloc(1, sizeof(*connection));
	CURL *curl;
	size_t length = strlen(options->url);

	if (strncmp(options->url, "https://", 8) != 0 && !(options->plain && !strncmp(options->url, "http://", 7)))
		return error_set(error, ERROR_INVALID,
			"the server's address must begin with https://%s, not \"%.100s\"",
			options->plain ? " or http://" : "", options->url);
	while (length > 0 && options->url[length - 1] == '/')
		length--;
	if (!connection || !(connection->curl = curl_easy_init()) ||
		!(connection->url = strndup(options->url, length)) || !(connection->answer_headers = json_object()))
		return error_no_memory(error);
	if (options->token && !(connection->authorization = text_new("Authorization: Bearer %s", options->token)))
		return error_no_memory(error);
	curl = connection->curl;
	connection->stop = options->stop;
	connection->patience_ms = options->patience_ms;
	connection->answer_limit = options->answer_limit ? options->answer_limit : ANSWER_LIMIT;
	connection->transfer.fd = -1;
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, connection->reason);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, connection);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_body);
	curl_easy_setopt(curl, CURLOPT_READDATA, connection);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, connection);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, tell);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, connection);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(curl, CURLOPT_MAXLIFETIME_CONN,
		(long)LIFETIME_SECONDS); /* so that a new certificate comes into use */
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "rounds/" ROUNDS_VERSION);
	set_identity(curl, options);
	*out = connection;
	connection = NULL;
	return 0;
}

void connection_free(struct connection *connection)
{
	if (!connection)
		return;
	curl_easy_cleanup(connection->curl);
	curl_slist_free_all(connection->headers);
	json_decref(connection->answer_headers);
	json_decref(connection->faults);
	free(connection->url);
	free(connection->authorization);
	free(connection->body);
	free(connection);
}

int connection_header(struct connection *connection, const char *line, struct rounds_error *error)
{
	struct curl_slist *more = curl_slist_append(connection->headers, line);

	if (!more)
		return error_no_memory(error);
	connection->headers = more;
	return 0;
}

const char *connection_answer_header(const struct connection *connection, const char *name)
{
	return json_string_value(json_object_get(connection->answer_headers, name));
}

const json_t *connection_faults(const struct connection *connection)
{
	return connection->faults;
}

double connection_round_trip(const struct connection *connection)
{
	return connection->round_trip;
}

bool connection_untrusted(const struct connection *connection)
{
	return connection->untrusted;
}

long connection_status(const struct connection *connection)
{
	return connection->status;
}

/* An answer of 4xx or 5xx as an error: the problem's own words where there are any. */
static int answer_error(struct connection *connection, struct rounds_error *error)
{
	json_auto_t *problem = NULL;
	struct rounds_error ignored;
	const char *type, *slug;

	if (connection->body_size && !json_parse(connection->body, connection->body_size, &problem, &ignored) &&
		(type = json_text_or(problem, "type", NULL)) && (slug = strrchr(type, '/'))) {
		error_set(error, error_kind_from_slug(slug + 1), "%s",
			json_text_or(problem, "detail", "the server refused"));
		text_print(error->field, sizeof(error->field), "%s", json_text_or(problem, "field", ""));
		connection->faults = json_incref(json_object_get(problem, "errors"));
		return -1;
	}
	return error_set(error,
		connection->status >= 500 || connection->status == 429 ? ERROR_UNAVAILABLE : ERROR_INTERNAL,
		"the server answered with status %ld%s%.400s", connection->status, problem ? ": " : "",
		json_text_or(problem, "message", ""));
}

/* A call that had to open the connection tells how long the TCP handshake took. */
static void measure_round_trip(struct connection *connection)
{
	curl_off_t looked_up = 0, connected = 0;

	curl_easy_getinfo(connection->curl, CURLINFO_NAMELOOKUP_TIME_T, &looked_up);
	curl_easy_getinfo(connection->curl, CURLINFO_CONNECT_TIME_T, &connected);
	if (connected > looked_up)
		connection->round_trip = (double)(connected - looked_up) / 1e6;
}

static int perform(struct connection *connection, const char *method, const char *path, struct rounds_error *error)
{
	scoped(text_free) char *url = text_new("%s%s", connection->url, path);
	CURLcode code;
	bool stopped;

	if (!url)
		return error_no_memory(error);
	if (connection->authorization && connection_header(connection, connection->authorization, error))
		return -1;
	/* "Expect: 100-continue" would cost a round trip for every upload. */
	if (connection_header(connection, "Expect:", error))
		return -1;
	free(connection->body);
	json_decref(connection->faults);
	connection->faults = NULL;
	connection->body = NULL;
	connection->body_size = 0;
	connection->status = 0;
	connection->reason[0] = '\0';
	json_object_clear(connection->answer_headers);
	curl_easy_setopt(connection->curl, CURLOPT_URL, url);
	curl_easy_setopt(connection->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(connection->curl, CURLOPT_NOBODY, (long)!strcmp(method, "HEAD"));
	curl_easy_setopt(connection->curl, CURLOPT_HTTPHEADER, connection->headers);
	code = curl_easy_perform(connection->curl);
	connection->untrusted = code == CURLE_PEER_FAILED_VERIFICATION;
	curl_easy_setopt(connection->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(connection->headers);
	connection->headers = NULL;
	curl_easy_getinfo(connection->curl, CURLINFO_RESPONSE_CODE, &connection->status);
	measure_round_trip(connection);
	if (connection->transfer.error.kind) {
		*error = connection->transfer.error;
		return -1;
	}
	stopped = connection->stop && atomic_load(connection->stop);
	if (code != CURLE_OK && connection->status < 400)
		return error_set(error, ERROR_UNAVAILABLE, "%s: %s", connection->url,
			stopped                 ? "stopped"
			: connection->reason[0] ? connection->reason
						: curl_easy_strerror(code));
	return connection->status >= 400 ? answer_error(connection, error) : 0;
}

int connection_call(struct connection *connection, const char *method, const char *path, const json_t *body,
	long seconds, json_t **answer, struct rounds_error *error)
{
	scoped(text_free) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	CURL *curl = connection->curl;

	if (body && (!text || connection_header(connection, "Content-Type: application/json", error)))
		return error_no_memory(error);
	connection->transfer = (struct transfer){ .fd = -1 };
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
		connection->patience_ms > 0 ? connection->patience_ms : (seconds + STALLED_SECONDS) * 1000);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 0L);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 0L);
	if (text) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(text));
	} else {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, NULL);
		curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
	}
	if (answer)
		*answer = NULL;
	if (perform(connection, method, path, error))
		return -1;
	if (!answer || connection->body_size == 0)
		return 0;
	return json_parse(connection->body, connection->body_size, answer, error)
		       ? error_prefix(error, "the server's answer")
		       : 0;
}

static void begin_transfer(struct connection *connection, int fd, moved_fn *moved, void *context)
{
	CURL *curl = connection->curl;

	connection->transfer = (struct transfer){ .fd = fd, .told = moved, .context = context };
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 0L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALLED_SECONDS);
	curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)BUFFER);
	curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER);
}

int connection_download(struct connection *connection, const char *path, int fd, uint64_t offset, uint64_t limit,
	moved_fn *moved, void *context, struct rounds_error *error)
{
	char range[60];
	int failed;

	begin_transfer(connection, fd, moved, context);
	connection->transfer.offset = offset;
	connection->transfer.limit = limit;
	curl_easy_setopt(connection->curl, CURLOPT_UPLOAD, 0L);
	curl_easy_setopt(connection->curl, CURLOPT_HTTPGET, 1L);
	snprintf(range, sizeof(range), "Range: bytes=%llu-", (unsigned long long)offset);
	if (offset > 0 && connection_header(connection, range, error))
		return -1;
	failed = perform(connection, "GET", path, error);
	connection->transfer.fd = -1;
	return failed;
}

int connection_upload(struct connection *connection, const char *method, const char *path, int fd, uint64_t offset,
	uint64_t size, moved_fn *moved, void *context, struct rounds_error *error)
{
	int failed;

	begin_transfer(connection, fd, moved, context);
	connection->transfer.offset = offset;
	connection->transfer.left = size;
	curl_easy_setopt(connection->curl, CURLOPT_POSTFIELDS, NULL);
	curl_easy_setopt(connection->curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(connection->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
	failed = perform(connection, method, path, error);
	curl_easy_setopt(connection->curl, CURLOPT_UPLOAD, 0L);
	connection->transfer.fd = -1;
	return failed;
}
