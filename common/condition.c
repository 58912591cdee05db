#include "common/condition.h"

#include "common/clock.h"

#include <time.h>

void condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t steady;

	pthread_condattr_init(&steady);
	pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &steady);
	pthread_condattr_destroy(&steady);
}

/* CLOCK_BOOTTIME is no condition's clock; the length of a wait is the same on both while the machine is awake. */
bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t us)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	us = (us > 0 ? us : 0) + until.tv_nsec / 1000;
	until.tv_sec += us / SECOND_US;
	until.tv_nsec = us % SECOND_US * 1000;
	return pthread_cond_timedwait(condition, lock, &until) != 0;
}
