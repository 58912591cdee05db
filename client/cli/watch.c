/*
 * Follows a job: on a terminal a view that redraws itself (live_view.c), elsewhere a line for each round and for what
 * needs attention.
 */
#include "client/cli/watch.h"

#include "common/clock.h"
#include "common/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_SECONDS = 20, METRICS_SAID = 4, PATIENCE_SECONDS = 60 };

static int fetch(struct view *view, const char *what, json_t **into, struct rounds_error *error)
{
	json_auto_t *answer = NULL;
	const char *date;
	char path[160];
	struct tm utc = { 0 };

	snprintf(path, sizeof(path), "/api/v1/jobs/%s%s", view->id, what);
	if (cli_get(view->cli, path, &answer, error))
		return -1;
	/* RFC 9110, section 5.6.7: the clocks of the two machines may differ. */
	date = connection_answer_header(view->cli->connection, "date");
	if (date && strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &utc))
		view->server_us = (int64_t)timegm(&utc) * SECOND_US;
	json_decref(*into);
	*into = json_incref(answer);
	return 0;
}

bool job_has_ended(const json_t *job)
{
	const char *state = json_text_or(job, "state", "");

	return !strcmp(state, "completed") || !strcmp(state, "failed") || !strcmp(state, "aborted");
}

bool event_is_routine(const json_t *event)
{
	static const char *const routine[] = { "task_leased", "result", "round_started", "aggregating", "aggregated",
		"log" };

	for (size_t i = 0; i < ARRAY_SIZE(routine); i++)
		if (!strcmp(json_text_or(event, "kind", ""), routine[i]))
			return true;
	return false;
}

/* Rounds are in order, and mostly asked for at the end. */
double curve_at(const json_t *curve, int64_t round)
{
	const json_t *rounds = json_object_get(curve, "rounds");

	for (size_t i = json_array_size(rounds); i-- > 0;) {
		const json_t *value = json_array_get(json_object_get(curve, "values"), i);

		if (json_integer_value(json_array_get(rounds, i)) == round)
			return json_is_number(value) ? json_number_value(value) : NAN;
	}
	return NAN;
}

/* The live view keeps all rounds, and has them already if none has begun since. */
static int refresh_curves(struct view *view, int64_t round_before, struct rounds_error *error)
{
	char path[60];

	if (view->live && view->curves && !job_has_ended(view->job) &&
		round_before == json_integer_or(view->job, "round", 0))
		return 0;
	snprintf(path, sizeof(path), "/curves?site=&from=%lld", view->live ? 0LL : (long long)view->round_said + 1);
	return fetch(view, path, &view->curves, error);
}

static int refresh(struct view *view, struct rounds_error *error)
{
	int64_t round_before = json_integer_or(view->job, "round", -1);
	char tasks[60];

	if (fetch(view, "", &view->job, error))
		return -1;
	snprintf(tasks, sizeof(tasks), "/tasks?round=%lld", (long long)json_integer_or(view->job, "round", 0));
	if (view->live && fetch(view, tasks, &view->tasks, error))
		return -1;
	return refresh_curves(view, round_before, error);
}

static int64_t measured_round(const struct view *view)
{
	int64_t last = -1;
	size_t i;
	json_t *curve;

	json_array_foreach (json_object_get(view->curves, "series"), i, curve) {
		const json_t *rounds = json_object_get(curve, "rounds");
		int64_t round = json_integer_value(json_array_get(rounds, json_array_size(rounds) - 1));

		if (strncmp(json_text_or(curve, "name", ""), "train_", 6) != 0 && round > last)
			last = round;
	}
	return last;
}

static void say_round(const struct view *view, int64_t round)
{
	int shown = 0;
	size_t i;
	json_t *curve;

	if (round == 0 && measured_round(view) < 0)
		return; /* the model that it began with, of which nothing is known */
	printf("round %3lld of %lld   ", (long long)round, (long long)json_integer_or(view->job, "rounds", 1));
	json_array_foreach (json_object_get(view->curves, "series"), i, curve) {
		scoped(text_free) char *name = value_text(json_object_get(curve, "name"));
		double value = curve_at(curve, round);

		if (isfinite(value) && shown < METRICS_SAID)
			printf("%s%.30s %.4f", shown++ ? "  " : "", name ? name : "", value);
	}
	puts(shown ? "" : "done");
}

/*
 * The last round of which all is known that will be: what was measured of its model comes with the round after it, and
 * where nothing is measured, that round's own end says so.
 */
static int64_t known_round(const struct view *view)
{
	int64_t round = json_integer_or(view->job, "round", 0), measured = measured_round(view);
	bool completed = !strcmp(json_text_or(view->job, "state", ""), "completed");
	int64_t closed = completed ? round : round - 2;

	return measured > closed ? measured : closed;
}

static void say_rounds(struct view *view)
{
	int64_t last = known_round(view);

	for (; view->round_said < last; view->round_said++)
		say_round(view, view->round_said + 1);
}

static void say_event(const json_t *event)
{
	scoped(text_free) char *message = value_text(json_object_get(event, "message"));

	if (!event_is_routine(event))
		printf("%s\n", message ? message : "");
}

/* The outage of a server is waited out. */
static int try_again(const struct view *view, int tries, const struct rounds_error *error)
{
	const atomic_bool *stop = view->cli->stop;

	if (error->kind != ERROR_UNAVAILABLE || tries == PATIENCE_SECONDS || (stop && atomic_load(stop)))
		return -1;
	nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	return 0;
}

/* Waits for what is new. */
static int next_events(struct view *view, json_t **events, struct rounds_error *error)
{
	int wait = job_has_ended(view->job) ? 0 : view->live ? 1 : WAIT_SECONDS;
	char path[160];

	snprintf(path, sizeof(path), "/events?limit=1000&cursor=%lld&wait=%d", (long long)view->cursor, wait);
	for (int tries = 0; fetch(view, path, events, error); tries++)
		if (try_again(view, tries, error))
			return -1;
	view->cursor = json_integer_or(*events, "next", view->cursor);
	return 0;
}

static void keep_recent(struct view *view, json_t *event)
{
	if (event_is_routine(event))
		return;
	json_array_append(view->recent, event);
	if (json_array_size(view->recent) > RECENT)
		json_array_remove(view->recent, 0);
}

static int show(struct view *view, const json_t *events, struct rounds_error *error)
{
	size_t i;
	json_t *event;

	for (int tries = 0; refresh(view, error); tries++)
		if (try_again(view, tries, error))
			return -1;
	if (!view->live)
		say_rounds(view);
	json_array_foreach (json_object_get(events, "items"), i, event)
		view->live ? keep_recent(view, event) : say_event(event);
	if (view->live)
		live_draw(view);
	fflush(stdout);
	return 0;
}

static int show_next(struct view *view, struct rounds_error *error)
{
	json_auto_t *events = NULL;

	return next_events(view, &events, error) || show(view, events, error) ? -1 : 0;
}

static int follow(struct view *view, struct rounds_error *error)
{
	if (view->live && show(view, NULL, error))
		return -1;
	while (!job_has_ended(view->job))
		if (show_next(view, error))
			return -1;
	/* What was written between the last events and the job's end. */
	if (show_next(view, error))
		return -1;
	return strcmp(json_text_or(view->job, "state", ""), "completed") ? EXIT_JOB_FAILED : EXIT_DONE;
}

int watch(struct cli *cli, const char *id, struct rounds_error *error)
{
	struct view view = {
		.cli = cli,
		.id = id,
		.live = !cli->json && isatty(STDOUT_FILENO),
		.round_said = -1,
		.recent = json_array(),
	};
	int code;

	if (view.live)
		live_begin();
	code = fetch(&view, "", &view.job, error) ? -1 : follow(&view, error);
	json_decref(view.job);
	json_decref(view.tasks);
	json_decref(view.curves);
	json_decref(view.recent);
	return code;
}
