/*
 * An executor is the program that does the work: a child process that speaks JSON lines on its standard input and
 * output, and safetensors files in a private directory. The protocol is described in client/README.md.
 *
 * It runs as process.h says. One that someone else has started connects to a socket instead. Whatever it does, a call here
 * comes back: it reads and writes only what is ready, and asks its watch about twice a second.
 */
#ifndef ROUNDS_CLIENT_SITE_EXECUTOR_H
#define ROUNDS_CLIENT_SITE_EXECUTOR_H

#include "common/failure.h"

#include <jansson.h>
#include <stdbool.h>

#define EXECUTOR_PROTOCOL 2 /* a program that refuses it is spoken to in version 1 */

struct executor;

/* `settings` is the executor's part of site.json. The program runs in `directory`. */
must_check int executor_start(
	const json_t *settings, const char *directory, struct executor **executor, struct rounds_error *error);
/* Ends it if it still runs: within two seconds and a half. */
void executor_free(struct executor *executor);
DEFINE_CLEANUP(struct executor *, executor_free);

/*
 * Called about twice a second; returns false to abort the work. `progress` is the program's last report, {"stage",
 * "fraction", "metrics"} as far as it gave them, or NULL; borrowed.
 */
typedef bool executor_watch_fn(void *context, const json_t *progress);

struct executor_turn {
	const json_t *task; /* the document that is handed over; its "protocol" is filled in */
	int64_t timeout_us; /* 0: none */
	executor_watch_fn *watch;
	void *context;
};

/*
 * Hands over a task document and waits for its result: *result is {"weight", "metrics"} (a new reference). On failure
 * *failure says why; what the program said is in the log by then. Where the watch aborted it *failure is as it was.
 */
must_check int executor_run(
	struct executor *executor, const struct executor_turn *turn, json_t **result, struct failure *failure);

/* The log lines that it has said and nobody has taken: an array of text (a new reference), NULL: none. */
#define EXECUTOR_LOG_LINES 100
json_t *executor_take_log(struct executor *executor);
bool executor_has_log(const struct executor *executor);

#endif
