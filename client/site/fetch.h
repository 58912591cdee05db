/*
 * The model that a task begins from, in this site's cache. The server says what it is called and how large it is; neither is
 * believed further than that: no more comes than was announced, none of it is used unless it has the digest, and the cache
 * never holds more than `cache_mb`, while something comes as little as afterwards.
 */
#ifndef ROUNDS_CLIENT_SITE_FETCH_H
#define ROUNDS_CLIENT_SITE_FETCH_H

#include "client/site/work.h"

/*
 * Waits until it is there or will never be. `name` is the task's member with the digest, "model" or "control"; *path is the
 * caller's to free, and stays NULL where the task names none. Returns -1 with *failure untouched if the task is called off.
 */
must_check int fetch_model(struct work *work, const char *name, char **path, struct failure *failure);

#endif
