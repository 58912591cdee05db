/*
 * What a program measured, as far as it is fit to be told: a name is a name and no sentence (common/label.h), a value is
 * a number or null. What is not is left out and not sent, since hours of training are not to be lost for a name.
 */
#ifndef ROUNDS_CLIENT_SITE_MEASURES_H
#define ROUNDS_CLIENT_SITE_MEASURES_H

#include <jansson.h>
#include <stdbool.h>

#define MEASURES_LIMIT 1000 /* of one report */

/* A new reference to an object; NULL if `given` is none. *said: whether the log has told of it; it does so once. */
json_t *measures_fit(const json_t *given, const char *task, bool *said);

/* The stage, or "training" where it is not fit to be told. Borrowed. */
const char *stage_fit(const char *stage);

#endif
