/*
 * Settings of a program: flags over environment (ROUNDS_*) over one JSON file over defaults.
 *
 * A key is a row of a `struct field` table. The key `data_dir` is the flag `--data-dir`, the variable
 * ROUNDS_DATA_DIR and the member "data_dir" of the file. Objects, maps and lists come from the file alone.
 */
#ifndef ROUNDS_COMMON_CONFIG_H
#define ROUNDS_COMMON_CONFIG_H

#include "common/fields.h"

/*
 * Reads settings from argv[first...]. `--config FILE` names the file; flags may be `--key value` or `--key=value`,
 * and for a FIELD_BOOL `--key` alone, or with `true` or `false` behind it. What is not a flag goes, in order, to `words` (a JSON array, or NULL if
 * the program takes none). *config is a new reference; a wrong key or value is an error that says which.
 */
must_check int config_read(const struct field *fields, int argc, char **argv, int first, json_t *words,
	json_t **config, struct rounds_error *error);

/* The flag of a key without its dashes: 80 bytes. */
void config_flag(const struct field *field, char flag[80]);

/* Prints the table as a help text, two spaces before each line. */
void config_help(const struct field *fields);

#endif
