/*
 * Follows a job. On a terminal a few lines that redraw themselves: progress, what each site does, the metrics. Elsewhere,
 * a line for each round and for what needs attention.
 */
#include "client/cli/cli.h"

#include "common/clock.h"
#include "common/json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_SECONDS = 20, BAR = 24, METRICS_SHOWN = 4 };

struct view {
	struct cli *cli;
	const char *id;
	bool live; /* on a terminal */
	int drawn; /* lines to go back over */
	int64_t cursor, begun;
	int64_t round_said; /* the last round whose line was printed */
	json_t *job, *tasks, *metrics;
};

static int fetch(struct view *view, const char *what, json_t **into, struct rounds_error *error)
{
	json_auto_t *answer = NULL;
	char path[160];

	snprintf(path, sizeof(path), "/api/v1/jobs/%s%s", view->id, what);
	if (cli_get(view->cli, path, &answer, error))
		return -1;
	json_decref(*into);
	*into = json_incref(answer);
	return 0;
}

static int refresh(struct view *view, struct rounds_error *error)
{
	char tasks[60];

	if (fetch(view, "", &view->job, error))
		return -1;
	snprintf(tasks, sizeof(tasks), "/tasks?round=%lld", (long long)json_integer_or(view->job, "round", 0));
	return fetch(view, tasks, &view->tasks, error) || fetch(view, "/metrics?site=", &view->metrics, error) ? -1
													       : 0;
}

static bool has_ended(const json_t *job)
{
	const char *state = json_text_or(job, "state", "");

	return !strcmp(state, "completed") || !strcmp(state, "failed") || !strcmp(state, "aborted");
}

/* "accuracy 0.951  loss 0.142" of the model of a round; empty if nothing is known of it. */
static void metrics_text(const struct view *view, int64_t round, char *text, size_t size)
{
	size_t i, used = 0;
	int shown = 0;
	json_t *metric;

	text[0] = '\0';
	json_array_foreach (json_object_get(view->metrics, "items"), i, metric) {
		if (json_integer_or(metric, "round", -1) != round || shown == METRICS_SHOWN || used >= size)
			continue;
		if (json_is_number(json_object_get(metric, "value")))
			used += (size_t)snprintf(text + used, size - used, "%s%.30s %.4f", shown ? "  " : "",
				json_text_or(metric, "name", ""), json_number_or(metric, "value", 0));
		shown++;
	}
}

static int64_t measured_round(const struct view *view)
{
	int64_t last = -1;
	size_t i;
	json_t *metric;

	json_array_foreach (json_object_get(view->metrics, "items"), i, metric)
		if (strncmp(json_text_or(metric, "name", ""), "train_", 6) != 0 &&
			json_integer_or(metric, "round", -1) > last)
			last = json_integer_or(metric, "round", -1);
	return last;
}

static void draw_bar(double share)
{
	int full = (int)(share * BAR + 0.5);

	putchar('[');
	for (int i = 0; i < BAR; i++)
		fputs(i < full ? "#" : ".", stdout);
	putchar(']');
}

static void draw_sites(struct view *view)
{
	size_t i;
	json_t *task;

	json_array_foreach (json_object_get(view->tasks, "items"), i, task) {
		const char *state = json_text_or(task, "state", "");
		const json_t *loss = json_object_get(json_object_get(task, "metrics"), "train_loss");
		bool leased = !strcmp(state, "leased");
		scoped(text_free) char *stage = value_text(
			leased ? json_object_get(task, "stage") : json_object_get(task, "state"));

		printf("\033[K  %-24.24s ", json_text_or(task, "site", ""));
		draw_bar(!strcmp(state, "done") ? 1 : leased ? json_number_or(task, "fraction", 0) : 0);
		printf(" %s", stage ? stage : "");
		if (json_is_number(loss))
			printf("  train_loss %.4f", json_number_value(loss));
		putchar('\n');
		view->drawn++;
	}
}

static void draw(struct view *view)
{
	int64_t round = json_integer_or(view->job, "round", 0), rounds = json_integer_or(view->job, "rounds", 1);
	scoped(text_free) char *name = value_text(json_object_get(view->job, "name"));
	scoped(text_free) char *reason = value_text(json_object_get(view->job, "reason"));
	char metrics[300];
	int64_t seconds = (clock_steady_us() - view->begun) / SECOND_US;

	if (view->drawn)
		printf("\033[%dA", view->drawn);
	view->drawn = 2;
	printf("\033[K%s: %s  round %lld of %lld  ", name ? name : "", json_text_or(view->job, "state", ""),
		(long long)round, (long long)rounds);
	draw_bar(has_ended(view->job) ? 1 : (double)(round > 0 ? round - 1 : 0) / (double)rounds);
	printf("  %lld:%02lld\n", (long long)(seconds / 60), (long long)(seconds % 60));
	metrics_text(view, measured_round(view), metrics, sizeof(metrics));
	printf("\033[K  %s\n", json_is_string(json_object_get(view->job, "reason")) && reason ? reason : metrics);
	draw_sites(view);
	printf("\033[J");
	fflush(stdout);
}

/* A round's metrics are known when the next one closes: its line comes then. */
static void say_rounds(struct view *view)
{
	int64_t last = measured_round(view), rounds = json_integer_or(view->job, "rounds", 1);

	for (; view->round_said < last; view->round_said++) {
		char metrics[300];

		metrics_text(view, view->round_said + 1, metrics, sizeof(metrics));
		printf("round %3lld of %lld   %s\n", (long long)view->round_said + 1, (long long)rounds, metrics);
	}
	fflush(stdout);
}

static void say_event(const json_t *event)
{
	static const char *const silent[] = { "task_leased", "result", "round_started", "aggregating", "aggregated" };
	const char *kind = json_text_or(event, "kind", "");
	scoped(text_free) char *message = value_text(json_object_get(event, "message"));

	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		if (!strcmp(kind, silent[i]))
			return;
	printf("%s\n", message ? message : "");
}

/* Waits for what is new; the outage of a server is waited out. */
static int next_events(struct view *view, json_t **events, struct rounds_error *error)
{
	char path[160];

	snprintf(path, sizeof(path), "/events?limit=1000&cursor=%lld&wait=%d", (long long)view->cursor,
		has_ended(view->job) ? 0
		: view->live         ? 1
				     : WAIT_SECONDS);
	for (int tries = 0; fetch(view, path, events, error); tries++) {
		if (error->kind != ERROR_UNAVAILABLE || tries == 60)
			return -1;
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	}
	view->cursor = json_integer_or(*events, "next", view->cursor);
	return 0;
}

static int show(struct view *view, const json_t *events, struct rounds_error *error)
{
	size_t i;
	json_t *event;

	for (int tries = 0; refresh(view, error); tries++) {
		if (error->kind != ERROR_UNAVAILABLE || tries == 60)
			return -1;
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	}
	if (view->live) {
		draw(view);
		return 0;
	}
	say_rounds(view);
	json_array_foreach (json_object_get(events, "items"), i, event)
		say_event(event);
	fflush(stdout);
	return 0;
}

/* What was written between the last events and the job's end. */
static int say_last_words(struct view *view, struct rounds_error *error)
{
	json_auto_t *events = NULL;

	return next_events(view, &events, error) || show(view, events, error) ? -1 : 0;
}

static int follow(struct view *view, struct rounds_error *error)
{
	while (!has_ended(view->job)) {
		json_auto_t *events = NULL;

		if (next_events(view, &events, error) || show(view, events, error))
			return -1;
	}
	if (say_last_words(view, error))
		return -1;
	return strcmp(json_text_or(view->job, "state", ""), "completed") ? EXIT_JOB_FAILED : EXIT_DONE;
}

int watch(struct cli *cli, const char *id, struct rounds_error *error)
{
	struct view view = {
		.cli = cli,
		.id = id,
		.live = !cli->json && isatty(STDOUT_FILENO),
		.begun = clock_steady_us(),
		.round_said = -1,
	};
	int code = fetch(&view, "", &view.job, error) ? -1 : 0;

	if (code == 0 && view.live && refresh(&view, error))
		code = -1;
	if (code == 0 && view.live)
		draw(&view);
	if (code == 0)
		code = follow(&view, error);
	json_decref(view.job);
	json_decref(view.tasks);
	json_decref(view.metrics);
	return code;
}
