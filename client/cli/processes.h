/*
 * The programs that a simulation starts and ends: the server and every site's daemon.
 *
 * There is one set of them in this process, since signals are the process's own. A call to the server that is under way
 * ends as soon as Ctrl-C comes or one of them goes away: whoever waits for them gives `processes_stop` to its connection.
 */
#ifndef ROUNDS_CLIENT_CLI_PROCESSES_H
#define ROUNDS_CLIENT_CLI_PROCESSES_H

#include "common/error.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { PROCESSES_MOST = 1001 };

/* From here on SIGINT and SIGTERM only raise the flag, and no descendant outlives processes_end. */
void processes_begin(void);

/* Starts one that stays, called `name` in messages; its output goes to the file `log`. It ends when this process does. */
must_check int processes_start(const char *name, char *const argv[], const char *log, struct rounds_error *error);

/* Runs a program to its end; `input` (may be NULL) is what it reads. An error if its status is not 0. */
must_check int processes_run(char *const argv[], const char *log, const char *input, struct rounds_error *error);

/* True once it makes no sense to go on: somebody interrupted, or one of them ended by itself. */
const atomic_bool *processes_stop(void);
/* Why processes_stop is true, as an error; `error` stays as it is while it is false. Returns -1. */
int processes_explain(struct rounds_error *error);
bool processes_interrupted(void);

/* Ends them all, the first that was started (the server) last; those that do not end in time are killed. */
void processes_end(void);

#endif
