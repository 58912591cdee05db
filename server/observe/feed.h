/*
 * What happens, as Server-Sent Events (WHATWG HTML, section 9.2): read from the store and encoded once, however many
 * watch.
 *
 * Three kinds of messages. `event` is a row of a job's history and has its number as id, so that a watcher who comes
 * back with Last-Event-ID gets what it has missed. `job` (a job's row and what each site does in it now) and `site`
 * (connected or not) tell how things are; the newest is enough, so they have no id. A watcher that falls too far behind
 * is let go; it comes back.
 */
#ifndef ROUNDS_SERVER_OBSERVE_FEED_H
#define ROUNDS_SERVER_OBSERVE_FEED_H

#include "server/engine/engine.h"
#include "server/store/projects.h"
#include "server/store/store.h"

#include <sys/types.h>

struct feed;
struct watcher;

struct feed_options {
	struct store *store;
	struct engine *engine;
	void (*wake)(void *context); /* there is something new to read; must not block */
	void *context;
};

must_check int feed_new(const struct feed_options *options, struct feed **feed, struct rounds_error *error);
must_check int feed_start(struct feed *feed, struct rounds_error *error); /* its thread */
void feed_stop(struct feed *feed);
void feed_free(struct feed *feed); /* after its watchers */

/* Something about this job has changed. May be called from any thread; never blocks for long. */
void feed_touch(struct feed *feed, const char *job);

/* From after event number `last` on (-1: from now on), of one job or of all (NULL) in the scope, which is borrowed for the call. */
must_check int feed_watch(struct feed *feed, const struct scope *scope, const char *job, int64_t last,
	struct watcher **watcher, struct rounds_error *error);
/* As a stream_source's `read` and `close`. */
ssize_t watcher_read(void *watcher, char *buffer, size_t room);
void watcher_close(void *watcher);

size_t feed_watchers(struct feed *feed);

#endif
