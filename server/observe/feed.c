#include "server/observe/feed.h"

#include "common/condition.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"
#include "common/uuid.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
	MESSAGES = 4096,    /* kept for those who read slowly */
	BYTES = 8 << 20,    /* of them in all */
	MISSED = 1000,      /* events that a watcher who comes back is told one by one */
	PAUSE_US = 200000,  /* between two looks at the store */
	TICKS_ALIVE = 75,   /* looks without a message before one that only shows that we are there */
	TASKS_SHOWN = 2000, /* of a job's open ones */
};

struct message {
	char *text;
	size_t size;
	char job[UUID_TEXT_SIZE]; /* empty: for all watchers */
	char project[64];         /* the job's */
};

struct feed {
	struct feed_options options;
	pthread_t thread;
	bool runs;
	pthread_mutex_t lock;
	pthread_cond_t stir;
	bool stopping, behind; /* behind: nobody watches, so the cursor is not kept up */
	json_t *touched;       /* {job: null} */
	json_t *connected;     /* {site: true or false} as last told */
	int64_t cursor;        /* the last event that is among the messages */
	size_t watchers, bytes, quiet;
	uint64_t first, end; /* numbers of the messages that are kept: [first, end) */
	struct message messages[MESSAGES];
};

struct watcher {
	struct feed *feed;
	char job[UUID_TEXT_SIZE];
	struct scope scope;
	char *missed; /* to be read before the feed's messages */
	size_t missed_size;
	uint64_t next; /* message */
	size_t offset; /* in what is being read */
};

static void drop_first(struct feed *feed)
{
	struct message *message = &feed->messages[feed->first++ % MESSAGES];

	feed->bytes -= message->size;
	free(message->text);
	*message = (struct message){ 0 };
}

/* Takes the text. */
static void push_locked(struct feed *feed, const char *job, const char *project, char *text)
{
	struct message *message;

	if (!text)
		return; /* out of memory: the next look tells how things are */
	if (feed->end - feed->first == MESSAGES)
		drop_first(feed);
	message = &feed->messages[feed->end++ % MESSAGES];
	message->text = text;
	message->size = strlen(text);
	snprintf(message->job, sizeof(message->job), "%s", job);
	snprintf(message->project, sizeof(message->project), "%s", project);
	feed->bytes += message->size;
	feed->quiet = 0;
	while (feed->bytes > BYTES && feed->end - feed->first > 1)
		drop_first(feed);
}

/* Takes the value. */
static char *encode(const char *kind, int64_t id, json_t *value)
{
	scoped(text_free) char *data = value ? json_dumps(value, JSON_COMPACT) : NULL;

	json_decref(value);
	if (!data)
		return NULL;
	if (id)
		return text_new("id: %lld\nevent: %s\ndata: %s\n\n", (long long)id, kind, data);
	return text_new("event: %s\ndata: %s\n\n", kind, data);
}

static char *encode_event(const json_t *row)
{
	json_t *event = json_copy((json_t *)(uintptr_t)row);

	json_object_del(event, "project");
	return encode("event", json_integer_or(row, "id", 0), event);
}

struct look {
	const struct scope *scope;
	int64_t after, limit;
	const char *job;
	json_t *events, *row, *tasks;
};

static int read_events(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct look *look = argument;

	return event_list_all(tx, look->scope, look->job, look->after, look->limit, &look->events, error);
}

static int read_last(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return event_last(tx, argument, error);
}

static int read_job(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct look *look = argument;

	return job_summary(tx, look->job, &look->row, error) ||
			       task_list_now(tx, look->job, TASKS_SHOWN, &look->tasks, error)
		       ? -1
		       : 0;
}

/* The whole of a job as it is now, and its project; NULL if it is gone or cannot be read. */
static char *encode_job(struct feed *feed, const char *job, char project[64])
{
	struct look look = { .job = job };
	struct rounds_error error;

	if (store_read(feed->options.store, read_job, &look, &error) || !look.row) {
		json_decref(look.row);
		json_decref(look.tasks);
		return NULL;
	}
	snprintf(project, 64, "%s", json_text_or(look.row, "project", ""));
	json_object_set_new(look.row, "tasks", look.tasks);
	return encode("job", 0, look.row);
}

static void tell_events(struct feed *feed, int64_t after)
{
	struct look look = { .scope = &scope_all, .after = after, .limit = MISSED };
	struct rounds_error error;
	size_t i;
	json_t *event;

	if (store_read(feed->options.store, read_events, &look, &error)) {
		log_warn("the live feed cannot read the store", "reason", error.message, NULL);
		return;
	}
	pthread_mutex_lock(&feed->lock);
	if (feed->cursor == after) {
		json_array_foreach (look.events, i, event) {
			push_locked(feed, json_text_or(event, "job", ""), json_text_or(event, "project", ""),
				encode_event(event));
			feed->cursor = json_integer_or(event, "id", feed->cursor);
		}
		if (json_array_size(look.events) == MISSED) /* there may be more: look again */
			json_object_set_new(feed->touched, "", json_null());
	}
	pthread_mutex_unlock(&feed->lock);
	json_decref(look.events);
}

static void tell_jobs(struct feed *feed, json_t *touched)
{
	const char *job;
	json_t *nothing;

	json_object_foreach (touched, job, nothing) {
		char project[64] = "", *text = encode_job(feed, job, project);

		pthread_mutex_lock(&feed->lock);
		push_locked(feed, job, project, text);
		pthread_mutex_unlock(&feed->lock);
	}
}

static int read_sites(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return site_list(tx, argument, error);
}

static void tell_sites(struct feed *feed)
{
	json_t *sites = NULL, *site;
	struct rounds_error error;
	size_t i;

	if (store_read(feed->options.store, read_sites, &sites, &error))
		return;
	json_array_foreach (sites, i, site) {
		const char *name = json_text_or(site, "name", "");
		json_t *now = json_boolean(engine_site_present(feed->options.engine, name));
		json_t *before = json_object_get(feed->connected, name);

		if (before == now)
			continue;
		json_object_set_new(feed->connected, name, now);
		pthread_mutex_lock(&feed->lock);
		push_locked(feed, "", "", encode("site", 0, json_pack("{s:s, s:O}", "name", name, "connected", now)));
		pthread_mutex_unlock(&feed->lock);
	}
	json_decref(sites);
}

/* One look at the store, if anybody watches. */
static void look(struct feed *feed, int64_t after, json_t *touched)
{
	uint64_t end;
	bool new;

	pthread_mutex_lock(&feed->lock);
	end = feed->end;
	pthread_mutex_unlock(&feed->lock);
	if (json_object_size(touched) > 0)
		tell_events(feed, after);
	tell_jobs(feed, touched);
	tell_sites(feed);
	pthread_mutex_lock(&feed->lock);
	if (++feed->quiet > TICKS_ALIVE)
		push_locked(feed, "", "", strdup(":\n\n"));
	new = feed->end != end;
	pthread_mutex_unlock(&feed->lock);
	if (new)
		feed->options.wake(feed->options.context);
}

static void *run(void *argument)
{
	struct feed *feed = argument;

	pthread_mutex_lock(&feed->lock);
	while (!feed->stopping) {
		json_t *touched = feed->touched;
		int64_t after = feed->cursor;

		if (feed->behind) {
			json_object_clear(feed->touched);
			pthread_cond_wait(&feed->stir, &feed->lock);
			continue;
		}
		feed->touched = json_object();
		feed->behind = feed->watchers == 0;
		pthread_mutex_unlock(&feed->lock);
		look(feed, after, touched);
		json_decref(touched);
		pthread_mutex_lock(&feed->lock);
		/* What is touched meanwhile waits: a burst becomes one message. */
		if (!feed->stopping && !feed->behind)
			condition_wait(&feed->stir, &feed->lock, PAUSE_US);
	}
	pthread_mutex_unlock(&feed->lock);
	return NULL;
}

void feed_touch(struct feed *feed, const char *job)
{
	pthread_mutex_lock(&feed->lock);
	if (!feed->behind)
		json_object_set_new(feed->touched, job, json_null());
	pthread_mutex_unlock(&feed->lock);
}

int feed_new(const struct feed_options *options, struct feed **out, struct rounds_error *error)
{
	struct feed *feed = calloc(1, sizeof(*feed));

	if (!feed)
		return error_no_memory(error);
	feed->options = *options;
	feed->behind = true;
	feed->touched = json_object();
	feed->connected = json_object();
	pthread_mutex_init(&feed->lock, NULL);
	condition_init(&feed->stir);
	*out = feed;
	return 0;
}

int feed_start(struct feed *feed, struct rounds_error *error)
{
	if (pthread_create(&feed->thread, NULL, run, feed))
		return error_set(error, ERROR_UNAVAILABLE, "cannot start the feed's thread");
	feed->runs = true;
	return 0;
}

void feed_stop(struct feed *feed)
{
	if (!feed || !feed->runs)
		return;
	pthread_mutex_lock(&feed->lock);
	feed->stopping = true;
	pthread_cond_signal(&feed->stir);
	pthread_mutex_unlock(&feed->lock);
	pthread_join(feed->thread, NULL);
	feed->runs = false;
}

void feed_free(struct feed *feed)
{
	if (!feed)
		return;
	feed_stop(feed);
	while (feed->first < feed->end)
		drop_first(feed);
	json_decref(feed->touched);
	json_decref(feed->connected);
	pthread_cond_destroy(&feed->stir);
	pthread_mutex_destroy(&feed->lock);
	free(feed);
}

/* The feed is kept up from now on, and the watcher reads from its end; `known` is the last event before that. */
static int join(struct feed *feed, struct watcher *watcher, int64_t *known, struct rounds_error *error)
{
	int failed = 0;

	pthread_mutex_lock(&feed->lock);
	if (feed->behind) {
		failed = store_read(feed->options.store, read_last, &feed->cursor, error);
		feed->behind = failed != 0;
		pthread_cond_signal(&feed->stir);
	}
	*known = feed->cursor;
	watcher->next = feed->end;
	feed->watchers += !failed;
	pthread_mutex_unlock(&feed->lock);
	return failed;
}

/* What happened after `last` and up to `known`; if that is too much to tell, it says that instead. */
static int tell_missed(struct watcher *watcher, int64_t last, int64_t known, struct rounds_error *error)
{
	struct look look = {
		.scope = &watcher->scope,
		.after = last,
		.limit = MISSED,
		.job = watcher->job[0] ? watcher->job : NULL,
	};
	FILE *out = NULL;
	size_t i;
	json_t *event;

	if (last >= 0 && last < known && store_read(watcher->feed->options.store, read_events, &look, error))
		return -1;
	out = open_memstream(&watcher->missed, &watcher->missed_size);
	if (!out) {
		json_decref(look.events);
		return error_no_memory(error);
	}
	fprintf(out, "retry: 1000\nid: %lld\nevent: hello\ndata: {\"version\":\"%s\",\"cursor\":%lld}\n\n",
		(long long)known, ROUNDS_VERSION, (long long)known);
	if (json_array_size(look.events) == MISSED)
		fputs("event: missed\ndata: {}\n\n", out);
	else
		json_array_foreach (look.events, i, event) {
			scoped(text_free) char *text = json_integer_or(event, "id", 0) <= known ? encode_event(event)
												: NULL;

			fputs(text ? text : "", out);
		}
	json_decref(look.events);
	return fclose(out) ? error_no_memory(error) : 0;
}

int feed_watch(struct feed *feed, const struct scope *scope, const char *job, int64_t last, struct watcher **out,
	struct rounds_error *error)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));
	int64_t known = 0;

	if (!watcher)
		return error_no_memory(error);
	watcher->feed = feed;
	watcher->scope = (struct scope){ json_incref(scope->projects) };
	snprintf(watcher->job, sizeof(watcher->job), "%s", job ? job : "");
	if (join(feed, watcher, &known, error)) {
		json_decref(watcher->scope.projects);
		free(watcher);
		return -1;
	}
	if (tell_missed(watcher, last, known, error)) {
		watcher_close(watcher);
		return -1;
	}
	*out = watcher;
	return 0;
}

static bool is_for(const struct message *message, const struct watcher *watcher)
{
	if (!message->job[0])
		return true;
	return (!watcher->job[0] || !strcmp(watcher->job, message->job)) &&
	       scope_holds(&watcher->scope, message->project);
}

/* The next piece that this watcher is to read; NULL if there is none now. */
static const char *piece_locked(struct watcher *watcher, size_t *size)
{
	struct feed *feed = watcher->feed;

	if (watcher->missed) {
		*size = watcher->missed_size;
		return watcher->missed;
	}
	for (; watcher->next < feed->end; watcher->next++) {
		const struct message *message = &feed->messages[watcher->next % MESSAGES];

		if (!is_for(message, watcher))
			continue;
		*size = message->size;
		return message->text;
	}
	return NULL;
}

static void advance(struct watcher *watcher)
{
	watcher->offset = 0;
	if (!watcher->missed)
		watcher->next++;
	free(watcher->missed);
	watcher->missed = NULL;
}

ssize_t watcher_read(void *context, char *buffer, size_t room)
{
	struct watcher *watcher = context;
	struct feed *feed = watcher->feed;
	size_t used = 0, size = 0;
	const char *piece;

	pthread_mutex_lock(&feed->lock);
	if (!watcher->missed && watcher->next < feed->first) {
		pthread_mutex_unlock(&feed->lock);
		return -1;
	}
	while (used < room && (piece = piece_locked(watcher, &size))) {
		size_t part = size - watcher->offset < room - used ? size - watcher->offset : room - used;

		memcpy(buffer + used, piece + watcher->offset, part);
		used += part;
		watcher->offset += part;
		if (watcher->offset == size)
			advance(watcher);
	}
	pthread_mutex_unlock(&feed->lock);
	return (ssize_t)used;
}

void watcher_close(void *context)
{
	struct watcher *watcher = context;

	pthread_mutex_lock(&watcher->feed->lock);
	watcher->feed->watchers--;
	pthread_mutex_unlock(&watcher->feed->lock);
	free(watcher->missed);
	json_decref(watcher->scope.projects);
	free(watcher);
}

size_t feed_watchers(struct feed *feed)
{
	size_t count;

	pthread_mutex_lock(&feed->lock);
	count = feed->watchers;
	pthread_mutex_unlock(&feed->lock);
	return count;
}
