/* Which errors pass by themselves, and how long to wait for that. */
#include "client/site/site.h"

#include "common/clock.h"

#include <math.h>
#include <openssl/rand.h>
#include <time.h>

bool error_is_passing(const struct rounds_error *error)
{
	switch (error->kind) {
	case ERROR_UNAVAILABLE:
	case ERROR_TOO_MANY:
	case ERROR_NO_SPACE:
	case ERROR_NO_MEMORY:
	case ERROR_IO:
	case ERROR_INTERNAL:
		return true;
	default:
		return false;
	}
}

bool backoff_wait(struct backoff *backoff, const struct site *site)
{
	struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	uint16_t random = 0;
	int64_t until;

	(void)RAND_bytes((unsigned char *)&random, sizeof(random));
	backoff->seconds = backoff->seconds > 0 ? fmin(2 * backoff->seconds, 30) : 0.5;
	until = clock_steady_us() + (int64_t)(backoff->seconds * (0.5 + random / 131072.0) * (double)SECOND_US);
	while (!site_stopping(site) && clock_steady_us() < until)
		nanosleep(&pause, NULL);
	return !site_stopping(site);
}
