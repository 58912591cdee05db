/*
 * Slows guessing: after five failures under a key (an account, an address), each further one doubles the time until the
 * next try, up to the limit. A success or an hour of quiet forgets. In memory, of fixed size: the oldest key makes room.
 */
#ifndef ROUNDS_SERVER_AUTH_THROTTLE_H
#define ROUNDS_SERVER_AUTH_THROTTLE_H

#include "common/error.h"

#include <stdint.h>

struct throttle;

struct throttle *throttle_new(void); /* NULL without memory */
void throttle_free(struct throttle *throttle);

/* ERROR_TOO_MANY, with how long to wait, while the key must wait. `now`: steady time. */
must_check int throttle_check(struct throttle *throttle, const char *key, int64_t now, struct rounds_error *error);
void throttle_failed(struct throttle *throttle, const char *key, int64_t now, int64_t limit_us);
void throttle_passed(struct throttle *throttle, const char *key);

#endif
