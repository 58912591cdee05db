/*
 * A program as its help, its manual page and its shells' completion know it: all three are made of the tables that the program
 * itself runs by, so that none can say what is not so.
 *
 *     PROGRAM --manual             the manual page (man(7))
 *     PROGRAM --completion SHELL   a script for bash, zsh or fish, which asks:
 *     PROGRAM --complete WORD...   what the last word may be, a line each, with a tab and what it means; ":files" for files
 */
#ifndef ROUNDS_COMMON_PROGRAM_H
#define ROUNDS_COMMON_PROGRAM_H

#include "common/fields.h"

#include <stdbool.h>

struct program_command {
	const char *words; /* "job submit"; "": the program alone; NULL ends the table */
	const char *usage; /* what follows them: a word in capitals for each argument */
	const char *help;
	const struct field *flags; /* beside the program's own; NULL: none */
};

struct program {
	const char *name;
	int section; /* of the manual */
	const char *summary, *description;
	const struct program_command *commands;
	const struct field *flags;
	bool has_file;       /* flags may also stand in the environment and in a file that --config names */
	const char *remarks; /* behind it all; NULL: none */
	void (*names)(const char *
			argument); /* prints what an argument such as JOB may be, a line each; NULL: nothing is known */
};

/* False: this is about something else. */
bool program_describes(const struct program *program, int argc, char **argv);
void program_help(const struct program *program);
/* `path`: how the script runs the program. False: there is no script for such a shell. */
bool program_completion(const struct program *program, const char *shell, const char *path);

#endif
