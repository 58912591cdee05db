/* What the files of this folder share. */
#ifndef ROUNDS_SERVER_HTTP_REQUEST_H
#define ROUNDS_SERVER_HTTP_REQUEST_H

#include "server/http/http.h"
#include "server/http/wires.h"

#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <pthread.h>

#define REPLY_FIELDS 12
#define WAIT_BUCKETS 4096

enum request_stage {
	STAGE_BODY,    /* the body is coming in */
	STAGE_WORK,    /* with the workers, or waiting to be woken */
	STAGE_REPLIED, /* the answer is ready to be queued */
};

struct request {
	struct http *http;
	struct MHD_Connection *connection;
	struct wire *wire;
	const struct route *route;
	char *path;
	char *values[ROUTE_PARAMETERS]; /* of the path's {names}, in their order; point into path_copy */
	char *path_copy;
	char id[UUID_TEXT_SIZE];
	enum request_stage stage;
	struct caller caller;

	char *body;
	size_t body_size, body_room, dropped;
	void *stream;
	bool stream_open, refused;
	struct rounds_error refusal;

	/* Waiting: all guarded by http->lock. */
	struct request *next_queued;                 /* with the workers */
	struct request *next_waiting, *prev_waiting; /* in its key's bucket */
	struct request *next_timed, *prev_timed;     /* by when its time is up */
	char key[80];
	bool armed, woken, asleep;
	int64_t give_up; /* steady time; 0 until the first request_wait */
	bool has_waited; /* all of its time */

	int64_t started;
	int status;
	struct MHD_Response *response;
	struct reply_field {
		char name[40];
		char *value;
	} fields[REPLY_FIELDS];
	int field_count;
};

struct http {
	struct http_options options;
	struct MHD_Daemon *daemon;
	uint16_t port;
	pthread_t *workers;
	unsigned worker_count;
	pthread_t timer;
	struct wires wires;
	bool timer_runs, draining, stopping;
	pthread_mutex_t lock;
	pthread_cond_t work, time;
	struct request *first, *last; /* for the workers */
	struct request *waiting[WAIT_BUCKETS];
	struct request *timed_first, *timed_last; /* asleep, in the order they went to sleep */
	uint64_t waiting_count;
	struct route_stats *stats; /* one for each route and one more */
	uint64_t in_flight;        /* requests that are not answered to the last byte */
	struct stream *streams;    /* guarded by stream_lock, as all of them is */
	pthread_mutex_t stream_lock;
};

/* router.c */
struct request *request_new(struct http *http, struct MHD_Connection *connection, const char *method, const char *url,
	struct rounds_error *error);
void request_free(struct request *request);

/* stats.c: a request is over. */
void stats_add(struct http *http, const struct request *request);

/* workers.c */
void workers_init(struct http *http);
void workers_destroy(struct http *http);
must_check int workers_start(struct http *http, struct rounds_error *error);
void workers_stop(struct http *http);
void workers_count(struct http *http, int change); /* of requests in flight */
uint64_t workers_in_flight(struct http *http);
/* Suspends the connection and queues its request; false once the workers end. */
bool workers_hand(struct http *http, struct request *request);

/* listen.c: the socket, bound and listening, and its port. A port in use is ERROR_CONFLICT. */
must_check int listen_open(
	const struct http_options *options, int *listener, uint16_t *port, struct rounds_error *error);

/* tap.c: from then on the library reads through the framing; which connection a session is. */
must_check int tap_start(struct rounds_error *error);
void tap_session(gnutls_session_t session, struct wire *wire);

/* peer.c */
void peer_address(const struct sockaddr *address, struct peer *peer);
void peer_look(struct peer *peer, struct MHD_Connection *connection);

/* reply.c */
enum outcome reply_finish(struct request *request, int status, struct MHD_Response *response);
void reply_forget_fields(struct request *request);
void reply_log(const struct request *request);

/* certificate.c: the library's callback, and the end of what was shown. */
int certificate_choose(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
	const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **certificates,
	unsigned *certificate_count, gnutls_privkey_t *key);
void certificates_forget(void);

#endif
