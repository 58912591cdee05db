/*
 * A program that this daemon starts, in a session of its own with no open files but its pipes and, beside PATH, HOME and LANG,
 * only what site.json gives as its environment. The kernel kills it when this daemon dies.
 *
 * Nothing here waits for a program's good will: every wait has an end, and what has not gone by then is killed, with all that
 * it started and left in its session.
 */
#ifndef ROUNDS_CLIENT_SITE_PROCESS_H
#define ROUNDS_CLIENT_SITE_PROCESS_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct process {
	pid_t pid;                /* 0: none */
	int input, output, words; /* its stdin, stdout, stderr, none of which blocks; -1: closed */
};

/* `settings` is the executor's part of site.json; `variable` is one more for its environment. It runs in `directory`. */
must_check int process_start(const json_t *settings, const char *directory, const char *variable,
	struct process *process, struct rounds_error *error);

/* Whether it has ended, within so many milliseconds; its status, as waitpid gives it, then. */
bool process_has_ended(const struct process *process, int milliseconds, int *status);

/* Asks it to end, and kills it if it has not after so many milliseconds. Closes its pipes. */
void process_end(struct process *process, int grace_ms);

#endif
