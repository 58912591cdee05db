/*
 * Tells the receivers of webhooks what happens to jobs: a POST of JSON for each event, signed as Standard Webhooks
 * (specification 1.0, symmetric) asks, so that receivers check it with a library they have.
 *
 *     {"type": "completed", "timestamp": RFC 3339, "data": a row of GET /events}
 *
 * One thread serves all, each receiver in order and by itself: a slow one keeps no other waiting. An answer of 2xx takes
 * the event. Anything else is tried again, after 5 seconds at first, then twice as long each time up to an hour; the
 * receiver's place is kept, so an outage on either side loses nothing. 410 ends a webhook at once, three days without
 * success do as well, and its state says so.
 */
#ifndef ROUNDS_SERVER_OBSERVE_WEBHOOKS_H
#define ROUNDS_SERVER_OBSERVE_WEBHOOKS_H

#include "server/observe/webhook_transport.h"
#include "server/store/store.h"

#include <stdbool.h>

struct webhooks;

/* Takes the transport, also where it fails. */
must_check int webhooks_new(struct store *store, struct world *world, struct webhook_transport *transport,
	struct webhooks **webhooks, struct rounds_error *error);
must_check int webhooks_start(struct webhooks *webhooks, struct rounds_error *error); /* its thread */
/* What that thread does again and again: sends what is due, takes what has been answered. */
void webhooks_turn(struct webhooks *webhooks);
void webhooks_stop(struct webhooks *webhooks); /* what is on its way is given up, and comes again after a start */
void webhooks_free(struct webhooks *webhooks);

/* There may be something to tell. From any thread; never blocks. */
void webhooks_touch(struct webhooks *webhooks);
/* Sends an event of the type "ping" soon, whatever the state; what became of it stands in the webhook's row. */
must_check int webhooks_ping(struct webhooks *webhooks, const char *id, struct rounds_error *error);

/* Since the start; for /metrics. */
struct webhook_counters {
	uint64_t taken, refused;
};
void webhook_counters(struct webhooks *webhooks, struct webhook_counters *counters);

#endif
