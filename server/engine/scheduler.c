/* The queue: by priority, then by age; a job that cannot start yet says why and holds nobody up. */
#include "server/engine/internal.h"

#include "common/json.h"
#include "common/text.h"
#include "server/engine/roster.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"

#include <stdio.h>
#include <string.h>

/* Jobs of servers before 0.2 have not fixed it: all of `sites`, or one. */
size_t job_least_sites(const json_t *job)
{
	const json_t *spec = json_object_get(job, "spec");
	size_t named = json_array_size(json_object_get(spec, "sites")),
	       given = (size_t)json_integer_or(spec, "min_sites", 0);

	return (size_t)json_integer_or(job, "min_sites_effective", (int64_t)(given ? given : named ? named : 1));
}

static int start(struct engine *engine, struct store_tx *tx, const json_t *job, const json_t *sites,
	struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", "");
	struct event event = { .kind = EVENT_STARTED };
	const struct job_change change = { 0 };
	char text[60];
	size_t i;
	json_t *site;

	snprintf(text, sizeof(text), "started with %zu sites", json_array_size(sites));
	if (job_move(tx, id, json_text_or(job, "state", ""), JOB_RUNNING, &change, error) ||
		note(engine, tx, id, -1, "running", NULL, text, error))
		return -1;
	json_array_foreach (sites, i, site)
		if (job_take_site(tx, id, json_string_value(site), error))
			return -1;
	return advance(engine, tx, id, &event, error);
}

/* Says why it waits, if that is not what was said last. */
static int wait_for_sites(
	struct engine *engine, struct store_tx *tx, const json_t *job, const char *reason, struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", "");

	if (!strcmp(reason, json_text_or(job, "reason", "")))
		return 0;
	return job_set_reason(tx, id, reason, error) || wake_job(engine, tx, id, error) ? -1 : 0;
}

/* A site that is ready and not yet in a running job that takes late ones has work from the next round on. */
static int let_in(struct engine *engine, struct store_tx *tx, const json_t *job, const json_t *ready,
	struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", "");
	json_auto_t *rows = NULL, *inside = json_object();
	size_t i;
	json_t *row, *site;

	if (job_sites(tx, id, &rows, error))
		return -1;
	json_array_foreach (rows, i, row)
		json_object_set_new(inside, json_text_or(row, "site", ""), json_true());
	json_array_foreach (ready, i, site) {
		const char *name = json_string_value(site);
		char text[160];

		text_print(text, sizeof(text), "%s has joined; it takes part from the next round on", name);
		if (!json_object_get(inside, name) &&
			(job_take_site(tx, id, name, error) || note(engine, tx, id, json_integer_or(job, "round", 0),
								       "site_joined", name, text, error)))
			return -1;
	}
	return 0;
}

static int let_late_sites_in(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *jobs = NULL, *sites = NULL;
	size_t i;
	json_t *row;

	if (job_list_running(tx, &jobs, error))
		return -1;
	json_array_foreach (jobs, i, row) {
		json_auto_t *job = NULL, *roster = NULL, *ready = NULL;

		if (!json_bool_or(row, "takes_late", false))
			continue;
		if ((!sites && site_list(tx, &sites, error)) ||
			job_find(tx, json_text_or(row, "id", ""), &job, error) ||
			roster_of(engine, tx, json_object_get(job, "spec"), sites, &roster, error))
			return -1;
		ready = roster_ready(roster);
		if (let_in(engine, tx, job, ready, error))
			return -1;
	}
	return 0;
}

int schedule(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *jobs = NULL, *sites = NULL;
	size_t i;
	json_t *job;

	if (job_list_queued(tx, &jobs, error) || (json_array_size(jobs) && site_list(tx, &sites, error)))
		return -1;
	json_array_foreach (jobs, i, job) {
		const json_t *spec = json_object_get(job, "spec");
		json_auto_t *roster = NULL, *ready = NULL;
		scoped(text_free) char *reason = NULL;

		if (roster_of(engine, tx, spec, sites, &roster, error))
			return -1;
		reason = roster_reason(spec, roster, job_least_sites(job));
		ready = roster_ready(roster);
		if (reason ? wait_for_sites(engine, tx, job, reason, error) : start(engine, tx, job, ready, error))
			return -1;
	}
	return let_late_sites_in(engine, tx, error);
}
