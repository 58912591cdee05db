/*
 * What a site reports of a task that it holds: that it works on it, what came of it, that nothing did. A report that cannot be
 * used must end somewhere, else the site begins anew for ever: what is said beside the result is left out where it is wrong,
 * a result or a failure that is wrong itself fails the task.
 */
#ifndef ROUNDS_SERVER_ENGINE_REPORT_H
#define ROUNDS_SERVER_ENGINE_REPORT_H

#include "server/engine/internal.h"

struct report {
	struct engine *engine;
	const char *site, *id;
	const json_t *body; /* NULL: what came is no JSON object */
	json_t **answer;    /* a new reference for the caller, where there is an answer */
	json_t *task, *job; /* rows, once found */
	const char *stage;  /* what is below is filled by report_read; NULL: not said */
	double fraction;    /* 0 to 1; NaN: not said */
	json_t *metrics;    /* {name: number, or null where it was not finite}; NULL: none */
	json_t *timings;    /* with defaults; NULL: none */
	unsigned left_out;  /* what of it could not be used: a bit for each reason */
};

/* The task's row as it is now. Another site's task is as unknown as one that never was. */
must_check int report_find_task(struct report *report, struct store_tx *tx, struct rounds_error *error);
/* The same, and the job's row as it was first found: its spec, which never changes, is what a report needs of it. */
must_check int report_find(struct report *report, struct store_tx *tx, struct rounds_error *error);
/* ERROR_CONFLICT with the reason, unless the site may still work on it. */
must_check int report_check_open(const struct report *report, struct rounds_error *error);
/* The task's state as it was read. */
const char *report_state(const struct report *report);
/* When its lease ends if it begins now. */
int64_t report_lease_end(const struct report *report);

/* Whether a heartbeat brings something that people should see, or extends a lease of which a third has gone. */
bool report_is_news(const struct report *report);

/* Stage, fraction, metrics and timings out of the body, without what is wrong. */
must_check int report_read(struct report *report, struct rounds_error *error);
/* Says in the job's events what was left out and why; once for a job, site and reason, and never in the site's words. */
must_check int report_note_left_out(const struct report *report, struct store_tx *tx, struct rounds_error *error);

void report_free(struct report *report);

#endif
