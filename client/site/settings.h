/* What a hospital's administrator decides: site.json. */
#ifndef ROUNDS_CLIENT_SITE_SETTINGS_H
#define ROUNDS_CLIENT_SITE_SETTINGS_H

#include "common/fields.h"

extern const struct field site_settings[];

/* The path of a file in the state directory: the caller frees; NULL without memory. */
char *state_path(const json_t *settings, const char *name);

/* The first line of such a file: the caller frees; NULL if there is none. */
char *state_word(const json_t *settings, const char *name);

/* rounds-trainer beside this program, or wherever PATH has it: the caller frees; NULL without memory. */
char *settings_trainer(void);

/*
 * Completes checked settings: the executor "trainer" is rounds-trainer unless it has a command or a socket, relative data paths made absolute. Datasets
 * that are not there are errors.
 */
must_check int settings_complete(json_t *settings, struct rounds_error *error);

#endif
