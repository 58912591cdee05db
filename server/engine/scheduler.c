/* The queue: by priority, then by age; a job that cannot start yet says why and holds nobody up. */
#include "server/engine/internal.h"

#include "common/json.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"

#include <stdio.h>
#include <string.h>

struct wait_reason {
	char text[300];
};

/* Whether the site could begin now; otherwise why not, in words. */
static int site_ready(struct engine *engine, struct store_tx *tx, const json_t *site, const json_t *spec, bool *ready,
	struct wait_reason *why, struct rounds_error *error)
{
	const char *name = json_text_or(site, "name", "");
	const char *dataset = json_text_or(spec, "dataset", ""), *executor = json_text_or(spec, "executor", "");
	int64_t slots;

	*ready = false;
	if (!engine_site_present(engine, name)) {
		snprintf(why->text, sizeof(why->text), "%s is not connected", name);
		return 0;
	}
	if (!json_lists(json_object_get(site, "datasets"), dataset)) {
		snprintf(why->text, sizeof(why->text), "%s does not offer the dataset \"%s\"", name, dataset);
		return 0;
	}
	if (!json_lists(json_object_get(site, "executors"), executor)) {
		snprintf(why->text, sizeof(why->text), "%s does not offer the executor \"%s\"", name, executor);
		return 0;
	}
	if (site_free_slots(tx, name, &slots, error))
		return -1;
	*ready = slots > 0;
	if (!*ready)
		snprintf(why->text, sizeof(why->text), "%s is busy with other jobs", name);
	return 0;
}

/* Those of the job's sites that could begin now. */
static int candidates(struct engine *engine, struct store_tx *tx, const json_t *spec, const json_t *sites,
	json_t *ready, struct wait_reason *why, struct rounds_error *error)
{
	const json_t *wanted = json_object_get(spec, "sites");
	size_t i;
	json_t *site;

	json_array_foreach (sites, i, site) {
		const char *name = json_text_or(site, "name", "");
		bool is_ready;

		if (strcmp(json_text_or(site, "state", ""), "active") != 0 ||
			(json_array_size(wanted) && !json_lists(wanted, name)))
			continue;
		if (site_ready(engine, tx, site, spec, &is_ready, why, error))
			return -1;
		if (is_ready)
			json_array_append_new(ready, json_string(name));
	}
	return 0;
}

static bool may_start(const json_t *spec, const json_t *ready, struct wait_reason *why)
{
	size_t wanted = json_array_size(json_object_get(spec, "sites")), i;
	size_t least = (size_t)json_integer_or(spec, "min_sites", 0);
	json_t *name;

	if (least == 0)
		least = wanted ? wanted : 1;
	json_array_foreach (json_object_get(spec, "required_sites"), i, name) {
		if (json_lists(ready, json_string_value(name)))
			continue;
		snprintf(why->text, sizeof(why->text), "the required site %s is not ready", json_string_value(name));
		return false;
	}
	if (json_array_size(ready) >= least)
		return true;
	struct wait_reason last = *why;
	snprintf(why->text, sizeof(why->text), "%zu of at least %zu sites are ready%s%s", json_array_size(ready),
		least, last.text[0] ? ": " : "", last.text);
	return false;
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

int schedule(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *jobs = NULL, *sites = NULL;
	size_t i;
	json_t *job;

	if (job_list_queued(tx, &jobs, error) || (json_array_size(jobs) && site_list(tx, &sites, error)))
		return -1;
	json_array_foreach (jobs, i, job) {
		const json_t *spec = json_object_get(job, "spec");
		json_auto_t *ready = json_array();
		struct wait_reason why = { "" };

		if (candidates(engine, tx, spec, sites, ready, &why, error))
			return -1;
		if (may_start(spec, ready, &why)) {
			if (start(engine, tx, job, ready, error))
				return -1;
		} else if (strcmp(why.text, json_text_or(job, "reason", "")) != 0) {
			if (job_set_reason(tx, json_text_or(job, "id", ""), why.text, error) ||
				wake_job(engine, tx, json_text_or(job, "id", ""), error))
				return -1;
		}
	}
	return 0;
}
