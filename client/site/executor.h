/*
 * An executor is the program that does the work: a child process that speaks JSON lines on its standard input and
 * output, and safetensors files in a private directory. The protocol is described in client/README.md.
 *
 * It runs in a session of its own with an empty environment and no open files but its pipes; its whole process group is
 * killed when it must end, and the kernel kills it when this daemon dies.
 */
#ifndef ROUNDS_CLIENT_SITE_EXECUTOR_H
#define ROUNDS_CLIENT_SITE_EXECUTOR_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

#define EXECUTOR_PROTOCOL 1

struct executor;

/* `settings` is the executor's part of site.json. The program runs in `directory`. */
must_check int executor_start(
	const json_t *settings, const char *directory, struct executor **executor, struct rounds_error *error);
/* Kills it if it still runs. */
void executor_free(struct executor *executor);
DEFINE_CLEANUP(struct executor *, executor_free);

/*
 * Called about twice a second; returns false to abort the work. `progress` is the program's last report, {"stage",
 * "fraction", "metrics"} as far as it gave them, or NULL; borrowed.
 */
typedef bool executor_watch_fn(void *context, const json_t *progress);

/*
 * Hands over a task document and waits for its result: *result is {"weight", "metrics"} (a new reference). On failure
 * *retry says whether another try makes sense; the message ends with the program's last words.
 */
must_check int executor_run(struct executor *executor, const json_t *task, int64_t timeout_us,
	executor_watch_fn *watch, void *context, json_t **result, bool *retry, struct rounds_error *error);

/* The log lines that it has said and nobody has taken: an array of text (a new reference), NULL: none. */
#define EXECUTOR_LOG_LINES 100
json_t *executor_take_log(struct executor *executor);
bool executor_has_log(const struct executor *executor);

#endif
