/* Condition variables whose waits are measured by a clock that nobody sets. */
#ifndef ROUNDS_COMMON_CONDITION_H
#define ROUNDS_COMMON_CONDITION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void condition_init(pthread_cond_t *condition);

/* Waits for a signal of a condition that condition_init made, for at most `us` microseconds. True if the time was over first. */
bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t us);

#endif
