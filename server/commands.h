/*
 * What rounds-server does beside serving: one row of a table for each command, from which main() chooses, and the settings
 * that all of them share.
 */
#ifndef ROUNDS_SERVER_COMMANDS_H
#define ROUNDS_SERVER_COMMANDS_H

#include "common/program.h"
#include "server/store/store.h"

extern const struct field server_settings[];

struct server_command {
	const char *name;  /* of the first word; "" serves */
	const char *usage; /* what follows it */
	const char *help;
	int (*run)(const json_t *config, const json_t *words); /* an exit code */
	size_t least, most;                                    /* words behind the name */
};

extern const struct server_command server_commands[]; /* name NULL ends it */

/* Help, manual page and completion, of these tables. */
const struct program *server_program(void);

/* main.c */
int serve(const json_t *config, const json_t *words);

/* One clear sentence on standard error; the exit code. */
int say(const struct rounds_error *error);

/* Held while the descriptor is open: nobody else writes to the data directory. */
must_check int open_lock(const char *directory, int *lock, struct rounds_error *error);
must_check int open_store(const char *directory, struct store **store, struct rounds_error *error);

#endif
