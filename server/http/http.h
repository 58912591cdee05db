/*
 * HTTPS: one port, optional client certificate, a router that is a table.
 *
 * Three kinds of threads. A few I/O threads (libmicrohttpd, epoll) move bytes and never wait for anything else. A
 * request that has arrived is set aside (its connection suspended) and handed to a pool of workers, where its
 * handler may block on the store as it likes. A handler that has nothing to say yet returns WAIT: the request
 * then costs no thread until someone wakes its key or its time is up, and the handler runs again.
 *
 * Before a request is parsed its framing is checked (framing.h): what could be read as two different requests is answered
 * with 400, and the connection closed. Whoever has not said who they are has deadlines, a limit per address (wires.h) and 16
 * KB for a body.
 *
 * libmicrohttpd and GnuTLS stay inside this folder.
 */
#ifndef ROUNDS_SERVER_HTTP_HTTP_H
#define ROUNDS_SERVER_HTTP_HTTP_H

#include "common/error.h"
#include "common/uuid.h"
#include "common/view.h"

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct http;
struct request;

enum outcome {
	REPLIED, /* the handler has called one of reply_* */
	WAIT,    /* it has called request_wait and wants to run again */
};

typedef enum outcome handler_fn(struct request *request, void *app);

/*
 * How a body that is not small is taken in, on an I/O thread, before the handler runs. None of these may block on
 * more than the page cache. `open` leaves its state in request_stream(); a failure ends the request with that error.
 */
struct body_sink {
	int (*open)(struct request *request, void *app, struct rounds_error *error);
	int (*write)(struct request *request, const void *bytes, size_t size, struct rounds_error *error);
	void (*abandon)(struct request *request); /* the client went away in mid-body */
};

#define ROUTE_PARAMETERS 2

struct route {
	const char *method;
	const char *path; /* `{name}` stands for one segment */
	int permission;   /* what the guard makes of it is its business */
	handler_fn *handler;
	const char *summary;
	size_t body_limit;            /* bytes; 0: HTTP_BODY_LIMIT */
	const struct body_sink *sink; /* NULL: the body is collected in memory */
	const char *record; /* under which name it is remembered who asked; NULL: it is not. The door's business */
};

#define HTTP_BODY_LIMIT ((size_t)1 << 20)

struct scope;

/* Who asks, as the guard found out. */
struct caller {
	enum caller_kind { CALLER_NOBODY, CALLER_SITE, CALLER_PERSON } kind;
	char name[64];
	char role[16];
	const struct scope *scope; /* where they may do what the route does, as its side of the guard knows it */
	char credential[80];       /* what it has shown, by which the guard's side knows it again; never a secret */
};

struct http_options {
	const char *address;       /* numeric, IPv4 or IPv6; `::` is both families */
	uint16_t port;             /* 0: any free one */
	const char *authority_pem; /* whose clients' certificates are good */
	unsigned io_threads, workers;
	unsigned connections; /* open at once */
	unsigned anonymous;   /* of one address, of those who have not said who they are; see wires.h */
	/* Proxies whose connections begin with a PROXY v2 header; IPv4 as mapped addresses. They must live as long. */
	const struct in6_addr *proxies;
	size_t proxy_count;
	const struct route *routes; /* method NULL ends the table */
	/* Runs before every handler, on an I/O thread: fills request_caller() or fails. */
	int (*guard)(struct request *request, void *app, struct rounds_error *error);
	/* Runs the route's handler, on a worker, each time that it is to run: the body may have come long after the guard. */
	handler_fn *door;
	void *app;
};

/*
 * A server that does not listen yet: others may already wake what will wait, and may still do so once it has stopped,
 * until it is freed. The options' texts and tables must live as long.
 */
/*
 * What the server shows from the next connection on: before http_start, and whenever there is a new one; not from two
 * threads at once. One is for everybody; one may be for those alone who ask for a name that it is made for (RFC 6066, SNI),
 * with the certificates between it and its authority behind it. ERROR_INVALID if they cannot be read or are no pair.
 */
enum certificate_for { CERTIFICATE_FOR_ALL, CERTIFICATE_BY_NAME };
must_check int http_show_certificate(
	enum certificate_for whom, const char *certificate_pem, const char *key_pem, struct rounds_error *error);
int64_t http_certificate_ends(void); /* of those that are shown the one that ends first; wall time in microseconds */

must_check int http_new(const struct http_options *options, struct http **http, struct rounds_error *error);
void http_free(struct http *http);

must_check int http_start(struct http *http, struct rounds_error *error);
uint16_t http_port(const struct http *http);

/* Waiting requests run once more, with request_wait() false; streams end. */
void http_drain(struct http *http);
/* No new connections; all threads end; what is still open is cut. */
void http_stop(struct http *http);

/* Wakes every request that waits for this key. May be called from any thread; never blocks for long. */
void http_wake(void *http, const char *key);

uint64_t http_waiting(struct http *http);

/* What a route has answered; the row behind the last route's is for requests that matched none. */
#define HTTP_BUCKETS 11
extern const double http_bucket_seconds[HTTP_BUCKETS]; /* their upper ends; one more bucket has none */
struct route_stats {
	uint64_t answers[6];                /* by status / 100; 0: cut before there was one */
	uint64_t buckets[HTTP_BUCKETS + 1]; /* by duration */
	double seconds;
};
size_t http_route_count(const struct http *http);
struct route_stats http_stats(struct http *http, size_t route);

/* The request, for guards, handlers and sinks. Text lives as long as the request. */
const struct route *request_route(const struct request *request);
const char *request_id(const struct request *request);
const char *request_path(const struct request *request);
const char *request_parameter(const struct request *request, const char *name); /* never NULL for one in the path */
const char *request_query(const struct request *request, const char *name);     /* NULL: not given */
const char *request_header(const struct request *request, const char *name);    /* NULL: not given */
const char *request_cookie(const struct request *request, const char *name);    /* NULL: not given */
/* Numeric, of the other end of the connection; a proxy's, if there is one between. */
const char *request_address(const struct request *request);
const char *request_body(const struct request *request, size_t *size);
must_check int request_json(
	const struct request *request, json_t **value, struct rounds_error *error); /* new reference */
must_check int request_query_integer(const struct request *request, const char *name, int64_t min, int64_t max,
	int64_t *value, struct rounds_error *error);
struct caller *request_caller(struct request *request);
void **request_stream(struct request *request);
struct http *request_http(struct request *request);

/* The verified client certificate of this connection: false if there is none that our authority signed. */
bool request_peer(const struct request *request, const char **name, const char **serial);

/*
 * Announces, before looking, that this request will wait for `key` at most `seconds` from when it first ran: a wake
 * between the look and the return is then not lost. Returns false when that time is over.
 */
bool request_wait(struct request *request, const char *key, int64_t seconds);

/* Exactly one of these ends a request. */
enum outcome reply_json(struct request *request, int status, json_t *value); /* takes the reference */
enum outcome reply_empty(struct request *request, int status);
enum outcome reply_text(struct request *request, int status, const char *type, char *text); /* takes it */
enum outcome reply_error(struct request *request, const struct rounds_error *error);
/* The same with a list of faults (see fields.h), borrowed. */
enum outcome reply_faults(struct request *request, const json_t *faults, struct rounds_error *error);
/* `size` bytes of a view from `begin`; takes the view. */
enum outcome reply_view(struct request *request, int status, struct view view, uint64_t begin, uint64_t size);

/* Bytes that outlive the server. */
enum outcome reply_bytes(struct request *request, int status, const void *bytes, size_t size);

/*
 * An answer without an end, such as Server-Sent Events. `read` copies what there is into the buffer: how many bytes, 0 if
 * there is nothing now (the connection then sleeps, without a thread, until http_wake_streams), -1 at the end. It runs on
 * an I/O thread and may not block. `close` frees the context, also when the client went away.
 */
struct stream_source {
	ssize_t (*read)(void *context, char *buffer, size_t room);
	void (*close)(void *context);
	void *context;
};
enum outcome reply_stream(struct request *request, const char *type, const struct stream_source *source);
/* May be called from any thread; never blocks for long. */
void http_wake_streams(void *http);

/* What a handler has answered, before it leaves; and takes it back, so that another answer can be given. */
int reply_status(const struct request *request);
void reply_withdraw(struct request *request);

/* A header of the answer; call before reply_*. */
void reply_header(struct request *request, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
