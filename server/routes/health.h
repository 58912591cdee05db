/* The state of the server itself: what GET /health and GET /metrics both tell. */
#ifndef ROUNDS_SERVER_ROUTES_HEALTH_H
#define ROUNDS_SERVER_ROUTES_HEALTH_H

#include "common/error.h"

#include <stdint.h>

struct app;

struct health {
	uint64_t free_bytes;           /* for weights */
	int64_t certificate_ends;      /* of the server, wall time in microseconds */
	int64_t site_certificate_ends; /* the first of any site that is not removed; INT64_MAX: there is none */
	int64_t held_jobs;             /* paused for want of space */
	int64_t unverified_jobs;       /* completed, and their lineage was never recomputed */
	int64_t broken_jobs;           /* it was, and is not sound */
	int64_t removed_sites;
};

must_check int health_look(struct app *app, struct health *health, struct rounds_error *error);

#endif
