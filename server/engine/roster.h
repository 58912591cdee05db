/*
 * Who could take part in a job now, and what is in the way of the others: one verdict for each site, for the queue, for the
 * check of a job before it is submitted, and for the people who wait.
 */
#ifndef ROUNDS_SERVER_ENGINE_ROSTER_H
#define ROUNDS_SERVER_ENGINE_ROSTER_H

#include "server/engine/engine.h"

/*
 * *roster: [{"site", "state", "since"}] in order of name, a new reference: the job's `sites`, joined or not, or every site if
 * it names none. `state` is "ready" or what is in the way: "unknown", "draining", "no_dataset", "no_executor", "away", "busy".
 * `since` is when a site that is away was last heard of (RFC 3339), null if never or not away. `sites` are the rows of all.
 */
must_check int roster_of(struct engine *engine, struct store_tx *tx, const json_t *spec, const json_t *sites,
	json_t **roster, struct rounds_error *error);

/* How many of them are in this state. */
size_t roster_count(const json_t *roster, const char *state);

/* {name: true} of the sites that nothing is in the way of but that they are away or busy: a new reference. */
json_t *roster_able(const json_t *roster);

/* Names of those that are ready: a new reference. */
json_t *roster_ready(const json_t *roster);

/* Why a job with this roster waits, all causes and all sites; the caller frees. NULL if it need not wait, or no memory. */
char *roster_reason(const json_t *spec, const json_t *roster, size_t least);

/*
 * How many sites `min_sites` stands for. 0 in the spec: as many as are named, or else as are registered with its dataset
 * and executor now, connected or not; at least one.
 */
size_t roster_least(const json_t *spec, const json_t *roster);

#endif
