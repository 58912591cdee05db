/*
 * Heartbeats of one task: they extend its lease, tell how far it is, and bring back that it was called off. One every five
 * seconds, however long the lease: it is by them that an abort, a removal or a drain reaches a program at work.
 */
#ifndef ROUNDS_CLIENT_SITE_BEAT_H
#define ROUNDS_CLIENT_SITE_BEAT_H

#include "client/site/site.h"

#define BEAT_SECONDS 5 /* a program that is called off is dead within twice that */

struct beat {
	struct slot *slot;
	const char *task; /* its id; borrowed */
	int64_t every_us, next_us;
	bool called_off;
	bool said; /* of metrics that are left out */
};

void beat_begin(struct beat *beat, struct slot *slot, const char *task, int64_t lease_seconds);

/* Now. `fraction` may be NaN; `metrics` may be NULL. */
void beat_now(struct beat *beat, const char *stage, double fraction, const json_t *metrics);

/* When it is time. False if the work is to end: it was called off, or the daemon stops. */
must_check bool beat_in_time(struct beat *beat, const char *stage, double fraction, const json_t *metrics);

/* Whether the executor's own words may be told to the server. */
bool shares_log(const struct site *site, const char *executor);

/* Whether the executor has said something that may be told and has not been. */
bool beat_has_log(const struct beat *beat);

#endif
