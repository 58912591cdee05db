/* GET /metrics: what Prometheus collects. Names are bounded: routes, states, never ids. */
#include "server/routes/app.h"
#include "server/routes/health.h"

#include "common/clock.h"
#include "common/json.h"
#include "server/observe/prometheus.h"
#include "server/store/blob_index.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/tasks.h"
#include "server/store/states.h"

#include <stdio.h>
#include <string.h>

static const char *route_name(const struct route *route)
{
	return route->method ? route->path : "none";
}

static void put_answers(FILE *out, struct http *http)
{
	size_t count = http_route_count(http);

	prometheus_family(
		out, "rounds_http_requests_total", "counter", "Requests that were answered, by route and status");
	for (size_t i = 0; i <= count; i++) {
		struct route_stats stats = http_stats(http, i);

		for (int class = 0; class < 6; class ++) {
			char status[8];

			if (!stats.answers[class])
				continue;
			snprintf(status, sizeof(status), class ? "%dxx" : "cut", class);
			prometheus_sample(out, "rounds_http_requests_total", (double)stats.answers[class],
				(const char *const[]){ "method", routes[i].method ? routes[i].method : "", "route",
					route_name(&routes[i]), "status", status, NULL });
		}
	}
}

static void put_durations(FILE *out, struct http *http)
{
	static const char name[] = "rounds_http_request_duration_seconds";
	size_t count = http_route_count(http);

	prometheus_family(out, name, "histogram",
		"From a request's beginning to the last byte of its answer; polls wait in it");
	for (size_t i = 0; i < count; i++) {
		struct route_stats stats = http_stats(http, i);
		uint64_t total = 0;
		char end[24];

		for (size_t bucket = 0; bucket <= HTTP_BUCKETS; bucket++)
			total += stats.buckets[bucket];
		if (!total)
			continue;
		total = 0;
		for (size_t bucket = 0; bucket <= HTTP_BUCKETS; bucket++) {
			total += stats.buckets[bucket];
			snprintf(end, sizeof(end), bucket < HTTP_BUCKETS ? "%g" : "+Inf",
				http_bucket_seconds[bucket % HTTP_BUCKETS]);
			prometheus_sample(out, "rounds_http_request_duration_seconds_bucket", (double)total,
				(const char *const[]){ "method", routes[i].method, "route", route_name(&routes[i]),
					"le", end, NULL });
		}
		const char *const labels[] = { "method", routes[i].method, "route", route_name(&routes[i]), NULL };
		prometheus_sample(out, "rounds_http_request_duration_seconds_sum", stats.seconds, labels);
		prometheus_sample(out, "rounds_http_request_duration_seconds_count", (double)total, labels);
	}
}

static void put_one(FILE *out, const char *name, const char *type, const char *help, double value)
{
	prometheus_family(out, name, type, help);
	prometheus_sample(out, name, value, NULL);
}

struct counts {
	json_t *jobs, *tasks, *sites, *loads;
	struct health health;
};

static int count(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct counts *counts = argument;

	return job_count_by_state(tx, &counts->jobs, error) || task_count_open(tx, &counts->tasks, error) ||
			       site_list(tx, &counts->sites, error) || owner_loads(tx, NULL, &counts->loads, error)
		       ? -1
		       : 0;
}

/* A sample for every state, also for those that nothing is in: a graph then shows 0 and no gap. */
static void put_counts(
	FILE *out, const char *name, const char *help, const struct machine *machine, bool final, const json_t *rows)
{
	uint64_t counts[JOB_STATES + TASK_STATES] = { 0 }; /* room for the states of either */
	size_t i;
	json_t *row;

	json_array_foreach (rows, i, row) {
		int state = state_find(machine, json_text_or(row, "state", NULL));

		if (state >= 0)
			counts[state] = (uint64_t)json_integer_or(row, "count", 0);
	}
	prometheus_family(out, name, "gauge", help);
	for (int state = 0; state < machine->count; state++) {
		const char *label = machine->states[state].name;

		if (final || !state_is_final(machine, label))
			prometheus_sample(
				out, name, (double)counts[state], (const char *const[]){ "state", label, NULL });
	}
}

static void put_sites(FILE *out, struct app *app, const json_t *sites)
{
	size_t i, connected = 0, removed = 0;
	json_t *site;

	json_array_foreach (sites, i, site) {
		connected += engine_site_present(app->engine, json_text_or(site, "name", ""));
		removed += !strcmp(json_text_or(site, "state", ""), "removed");
	}
	prometheus_family(out, "rounds_sites", "gauge", "Sites that have joined, by whether they are connected");
	prometheus_sample(
		out, "rounds_sites", (double)connected, (const char *const[]){ "state", "connected", NULL });
	prometheus_sample(out, "rounds_sites", (double)(json_array_size(sites) - connected - removed),
		(const char *const[]){ "state", "away", NULL });
	prometheus_sample(out, "rounds_sites", (double)removed, (const char *const[]){ "state", "removed", NULL });
}

static void put_health(FILE *out, const struct health *health)
{
	put_one(out, "rounds_blobs_free_bytes", "gauge", "Space for new weights", (double)health->free_bytes);
	put_one(out, "rounds_jobs_held", "gauge", "Jobs that are paused for want of space",
		(double)health->held_jobs);
	put_one(out, "rounds_jobs_unverified", "gauge",
		"Completed jobs whose lineage was never recomputed, up to 1,000", (double)health->unverified_jobs);
	put_one(out, "rounds_jobs_broken", "gauge", "Completed jobs whose lineage is not sound",
		(double)health->broken_jobs);
	prometheus_family(out, "rounds_certificate_end_timestamp_seconds", "gauge",
		"When a certificate ends: the server's, and the first of any site");
	prometheus_sample(out, "rounds_certificate_end_timestamp_seconds",
		(double)health->certificate_ends / (double)SECOND_US, (const char *const[]){ "of", "server", NULL });
	if (health->site_certificate_ends < INT64_MAX)
		prometheus_sample(out, "rounds_certificate_end_timestamp_seconds",
			(double)health->site_certificate_ends / (double)SECOND_US,
			(const char *const[]){ "of", "site", NULL });
}

static void put_loads(FILE *out, const json_t *loads)
{
	int64_t uploads = 0, bytes = 0;
	size_t i;
	json_t *load;

	json_array_foreach (loads, i, load) {
		uploads += json_integer_or(load, "uploads", 0);
		bytes += json_integer_or(load, "announced_bytes", 0);
	}
	put_one(out, "rounds_uploads_unfinished", "gauge", "Uploads of which not all has arrived", (double)uploads);
	put_one(out, "rounds_uploads_announced_bytes", "gauge",
		"Their lengths, whether or not the bytes have arrived", (double)bytes);
}

static void put_webhooks(FILE *out, struct app *app)
{
	struct webhook_counters counters;

	webhook_counters(app->webhooks, &counters);
	prometheus_family(out, "rounds_webhook_deliveries_total", "counter",
		"Tries to tell receivers of webhooks, by what came of them");
	prometheus_sample(out, "rounds_webhook_deliveries_total", (double)counters.taken,
		(const char *const[]){ "result", "taken", NULL });
	prometheus_sample(out, "rounds_webhook_deliveries_total", (double)counters.refused,
		(const char *const[]){ "result", "failed", NULL });
}

static void put_audit(FILE *out, struct app *app)
{
	json_auto_t *state = NULL;
	struct rounds_error error;

	if (audit_state(app->audit, &state, &error))
		return;
	put_one(out, "rounds_audit_entries", "gauge", "Entries of the audit log",
		(double)json_integer_or(state, "length", 0));
	put_one(out, "rounds_audit_unrecorded", "gauge", "What could not be recorded for want of space, so far",
		(double)json_integer_or(state, "unrecorded", 0));
}

static void put_store(FILE *out, struct app *app)
{
	struct store_counters counters;

	store_counters(app->store, &counters);
	put_one(out, "rounds_store_commits_total", "counter", "Transactions, each with one sync to disk",
		(double)counters.commits);
	put_one(out, "rounds_store_writes_total", "counter", "Writes that shared these commits",
		(double)counters.writes);
	put_one(out, "rounds_store_commit_seconds_total", "counter", "Time that the commits took",
		(double)counters.commit_us / (double)SECOND_US);
}

static void put_all(FILE *out, struct app *app, const struct counts *counts)
{
	struct engine_counters done;

	engine_counters(app->engine, &done);
	prometheus_family(out, "rounds_build_info", "gauge", "Which version runs");
	prometheus_sample(out, "rounds_build_info", 1, (const char *const[]){ "version", ROUNDS_VERSION, NULL });
	put_answers(out, app->http);
	put_durations(out, app->http);
	put_one(out, "rounds_http_waiting_requests", "gauge", "Long polls that wait",
		(double)http_waiting(app->http));
	put_one(out, "rounds_live_watchers", "gauge", "Streams of live events that are open",
		(double)feed_watchers(app->feed));
	put_counts(out, "rounds_jobs", "Jobs by state", &job_machine, true, counts->jobs);
	put_counts(
		out, "rounds_open_tasks", "Tasks that are not over, by state", &task_machine, false, counts->tasks);
	put_sites(out, app, counts->sites);
	put_one(out, "rounds_uploads_active", "gauge", "Uploads that are being written",
		(double)uploads_active(app->blobs));
	put_loads(out, counts->loads);
	put_health(out, &counts->health);
	put_one(out, "rounds_aggregations_total", "counter", "Rounds that were aggregated",
		(double)done.aggregations);
	put_one(out, "rounds_aggregation_failures_total", "counter", "Rounds that could not be",
		(double)done.failures);
	put_one(out, "rounds_aggregation_seconds_total", "counter", "Time that took, proof of the inputs included",
		(double)done.aggregation_us / (double)SECOND_US);
	put_one(out, "rounds_aggregation_input_bytes_total", "counter", "Bytes of the updates that went in",
		(double)done.aggregation_bytes);
	put_webhooks(out, app);
	put_store(out, app);
	put_audit(out, app);
}

enum outcome metrics_show(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct counts counts = { 0 };
	char *text = NULL;
	size_t size = 0;
	FILE *out = NULL;
	bool failed = store_read(app->store, count, &counts, &error) || health_look(app, &counts.health, &error);

	if (!failed && (out = open_memstream(&text, &size))) {
		put_all(out, app, &counts);
		failed = fclose(out) != 0;
	}
	json_decref(counts.jobs);
	json_decref(counts.tasks);
	json_decref(counts.sites);
	json_decref(counts.loads);
	if (!failed && out)
		return reply_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", text);
	free(text);
	if (!error.kind)
		(void)error_no_memory(&error);
	return reply_error(request, &error);
}
