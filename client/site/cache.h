/* Models by digest, so that one that is asked for again need not travel again. The oldest go when space runs out. */
#ifndef ROUNDS_CLIENT_SITE_CACHE_H
#define ROUNDS_CLIENT_SITE_CACHE_H

#include "common/digest.h"
#include "common/error.h"

#include <jansson.h>

/* The path where a model lies or should be put: the caller frees; NULL without memory. */
char *cache_path(const char *directory, const struct digest *digest);

/*
 * Removes what was used longest ago until at most `bytes` are left, and returns how many are. `in_use`, an array of digests as
 * text (borrowed), names what stays, whole or half fetched.
 */
uint64_t cache_trim(const char *directory, uint64_t bytes, const json_t *in_use);

/* Removes the folders of jobs that have had no task here for so many days. */
void own_forget(const char *directory, int64_t days);

#endif
