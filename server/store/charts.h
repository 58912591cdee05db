/*
 * A job's rounds, tasks and metrics in columns, for plots: many thousand points, so SQLite makes the JSON text itself. The
 * text is the caller's to free. `from`: the first round wanted.
 */
#ifndef ROUNDS_SERVER_STORE_CHARTS_H
#define ROUNDS_SERVER_STORE_CHARTS_H

#include "server/store/store.h"

/*
 * {"origin": RFC 3339, "sites": [name], "rounds": [[number, state, begun, aggregating, finished]],
 *  "tasks": [[round, index into sites, kind, state, issued, leased, finished, download, train, upload, attempts, weight]]}.
 * Times are milliseconds since the origin, durations milliseconds as the site measured them; null: not known.
 */
must_check int chart_timeline(
	struct store_tx *tx, const char *job, int64_t from, char **text, struct rounds_error *error);

/* {"names": [...], "series": [{"name", "site", "rounds": [...], "values": [...]}]}; site "" is the whole, NULL: any. */
must_check int chart_curves(struct store_tx *tx, const char *job, const char *name, const char *site, int64_t from,
	char **text, struct rounds_error *error);

#endif
