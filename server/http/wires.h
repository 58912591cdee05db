/*
 * Connections as such: where each comes from, whether it has said who it is, and until when it may take its time.
 *
 * A connection is anonymous until a request on it has passed the guard with a certificate, a token or a session. One
 * address (of IPv6: one /64) may hold so many anonymous ones; one more, and its oldest is cut, so that who comes now is
 * served while others of the same address are silent. Where all connections are taken, the oldest anonymous one of any
 * address goes. Those that are known are never cut for want of room: a hospital behind one address may have any number.
 *
 * Deadlines (libmicrohttpd knows one for idleness alone, which a byte now and then puts off):
 *
 *     an anonymous connection, from its start or its last answer to the end of a request    REQUEST_SECONDS
 *     an anonymous connection, from there to the end of the answer                          ANSWER_SECONDS
 *     any connection, from the first to the last byte of a request's head                   REQUEST_SECONDS
 *     one that is known, from an answer to the next request                                 REST_SECONDS
 *
 * The last is for memory's sake: from its second request on the library has written to all of a connection's 256 KB, ten times
 * what a first request takes. So those that rest are closed, and one that has waited in vain for an answer is closed with it
 * (request_wait): a site that has no work waits on a fresh connection.
 *
 * To cut is to shut the socket down; the library then closes it. Where a trusted proxy (http_options.proxies) connects, its
 * PROXY protocol v2 header comes before TLS and says the address that counts.
 */
#ifndef ROUNDS_SERVER_HTTP_WIRES_H
#define ROUNDS_SERVER_HTTP_WIRES_H

#include "server/http/framing.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

enum { REQUEST_SECONDS = 30, ANSWER_SECONDS = 120, REST_SECONDS = 45, WIRE_BUCKETS = 1024 };

/* The certificate at the other end: looked at once, not for every request. */
struct peer {
	bool looked, verified;
	char name[64];
	char serial[64];
	char address[48];
};

struct proxy_header; /* one that is coming in */

/* Connections whose handshake waits for the other end (handshake.c). */
struct handshakes {
	int ready; /* an epoll descriptor */
	pthread_t thread;
	atomic_bool runs;
	atomic_bool ends;
	atomic_uint aside;
};

struct wire {
	struct wires *wires;
	struct MHD_Connection *connection;
	int socket;   /* the library's: open while the wire is listed */
	bool watched; /* by the handshakes' thread */
	struct peer peer;
	struct framing framing;
	struct proxy_header *proxy; /* NULL: none is expected, or it is read */
	bool resting;               /* between an answer and the next request */
	/* Guarded by the list's lock. */
	TAILQ_ENTRY(wire) entry; /* in its address's bucket while anonymous, else among the known */
	struct in6_addr origin;  /* what of the address counts */
	bool known, cut;
	int64_t since;
	_Atomic int64_t deadline; /* steady time; 0: none */
};

TAILQ_HEAD(wire_list, wire);

struct wires {
	pthread_mutex_t lock;
	pthread_cond_t ending;
	struct wire_list anonymous[WIRE_BUCKETS]; /* each in the order of their coming */
	struct wire_list known;
	unsigned count, limit, address_limit;
	const struct in6_addr *proxies; /* IPv4 as mapped addresses */
	size_t proxy_count;
	pthread_t reaper;
	bool runs, ends;
	struct handshakes handshakes;
};

void wires_init(struct wires *wires, unsigned limit, unsigned address_limit);
void wires_destroy(struct wires *wires);
must_check int wires_start(struct wires *wires, struct rounds_error *error);
void wires_stop(struct wires *wires);

/* A new connection. NULL without memory: the socket is shut down. */
struct wire *wire_new(struct wires *wires, struct MHD_Connection *connection, int socket,
	const struct sockaddr *address, gnutls_session_t session);
/* Before the library closes the socket. */
void wire_free(struct wire *wire);

/* What the guard found of the last request. */
void wire_known(struct wire *wire, bool known);
/* The connection's state has changed: a request has arrived whole; its answer is sent. */
void wire_working(struct wire *wire);
void wire_resting(struct wire *wire);
/* The library has looked for more: so many bytes are for it, and there may be some of a head besides. */
void wire_read(struct wire *wire, ssize_t got);

/* At the end. */
void wires_cut_anonymous(struct wires *wires);

/* handshake.c. Until it is readable the connection is suspended; false: it is not, there is no thread to watch it. */
must_check int handshakes_start(struct handshakes *handshakes, struct rounds_error *error);
bool handshakes_set_aside(struct wire *wire);
/* None is suspended afterwards, as the library's end needs it; nor are the others that have not said who they are open. */
void handshakes_stop(struct wires *wires);

/* proxy.c: takes the header off a session's bytes before TLS sees them. */
must_check int proxy_expect(struct wire *wire, gnutls_session_t session);
/* wires.c: the address that the header told. */
void wire_moved(struct wire *wire, const struct sockaddr *address);

#endif
