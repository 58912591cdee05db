/*
 * The files that a task is given, in this site's cache. The server says what they are called and how large they are; neither is
 * believed further than that: no more comes than was announced, none of it is used unless it has the digest, and the cache
 * never holds more than `cache_mb`, while something comes as little as afterwards.
 */
#ifndef ROUNDS_CLIENT_SITE_FETCH_H
#define ROUNDS_CLIENT_SITE_FETCH_H

#include "client/site/work.h"

/*
 * Waits until all are there or one will never be: adds {name: path} to `paths`. Returns -1 with *failure untouched if the task is
 * called off.
 */
must_check int fetch_files(struct work *work, json_t *paths, struct failure *failure);

#endif
