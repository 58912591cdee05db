/*
 * Webhooks: who is told of events, and how far. Each is a reader of the table of events with a place of its own, which
 * moves when the receiver has taken an event: nothing is told twice but after a crash, nothing is left out.
 *
 * The secret is kept as it is, since deliveries are signed with it; no answer of the API holds it.
 */
#ifndef ROUNDS_SERVER_STORE_WEBHOOKS_H
#define ROUNDS_SERVER_STORE_WEBHOOKS_H

#include "server/store/store.h"

#include <stdbool.h>

struct new_webhook {
	const char *id, *url, *secret, *by; /* by: who made it */
	const json_t *kinds;                /* of events: an array of text */
};
/* It is told what happens from now on. */
must_check int webhook_insert(struct store_tx *tx, const struct new_webhook *webhook, struct rounds_error *error);
must_check int webhook_list(struct store_tx *tx, json_t **webhooks, struct rounds_error *error);
must_check int webhook_find(struct store_tx *tx, const char *id, json_t **webhook, struct rounds_error *error);
must_check int webhook_delete(struct store_tx *tx, const char *id, struct rounds_error *error);
/* NULL: as it was. `state` is "active" or "paused"; one that failed begins anew when it becomes active. */
must_check int webhook_change(struct store_tx *tx, const char *id, const char *url, const json_t *kinds,
	const char *state, struct rounds_error *error);

/* With all that a delivery needs: {"id", "url", "secret", "kinds", "state", "place", "failures"}. */
must_check int webhook_list_to_serve(struct store_tx *tx, json_t **webhooks, struct rounds_error *error);
/* The next event of these kinds after `after`, as event_list_all has it; *event NULL: none up to *last. */
must_check int webhook_next_event(struct store_tx *tx, int64_t after, const json_t *kinds, json_t **event,
	int64_t *last, struct rounds_error *error);

/* What became of a try. `place`: the event that was taken, 0 if none was. `status`: of the answer, 0: none came. */
struct webhook_try {
	const char *id;
	int64_t place, status;
	const char *fault;   /* NULL: it was taken */
	const char *give_up; /* why it is given up; NULL: it goes on */
	bool counts;         /* towards giving up: a test does not */
};
must_check int webhook_tried(struct store_tx *tx, const struct webhook_try *tried, struct rounds_error *error);

#endif
