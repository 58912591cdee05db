#include "server/auth/throttle.h"

#include "common/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { KEYS = 1024, FREE_TRIES = 5 };

#define FORGET_US (3600 * SECOND_US)

struct entry {
	char key[80];
	unsigned failures;
	int64_t until, last;
};

struct throttle {
	pthread_mutex_t lock;
	struct entry entries[KEYS];
};

struct throttle *throttle_new(void)
{
	struct throttle *throttle = calloc(1, sizeof(*throttle));

	if (throttle)
		pthread_mutex_init(&throttle->lock, NULL);
	return throttle;
}

void throttle_free(struct throttle *throttle)
{
	if (!throttle)
		return;
	pthread_mutex_destroy(&throttle->lock);
	free(throttle);
}

static struct entry *find(struct throttle *throttle, const char *key)
{
	for (size_t i = 0; i < KEYS; i++)
		if (!strncmp(throttle->entries[i].key, key, sizeof(throttle->entries[i].key) - 1))
			return &throttle->entries[i];
	return NULL;
}

static struct entry *oldest(struct throttle *throttle)
{
	struct entry *old = &throttle->entries[0];

	for (size_t i = 1; i < KEYS; i++)
		if (throttle->entries[i].last < old->last)
			old = &throttle->entries[i];
	return old;
}

int throttle_check(struct throttle *throttle, const char *key, int64_t now, struct rounds_error *error)
{
	const struct entry *entry;
	int64_t wait = 0;

	pthread_mutex_lock(&throttle->lock);
	entry = find(throttle, key);
	if (entry)
		wait = entry->until - now;
	pthread_mutex_unlock(&throttle->lock);
	if (wait <= 0)
		return 0;
	error_set(error, ERROR_TOO_MANY, "too many failures; try again in %lld s",
		(long long)((wait + SECOND_US - 1) / SECOND_US));
	if (error)
		error->retry_seconds = (int)((wait + SECOND_US - 1) / SECOND_US);
	return -1;
}

void throttle_failed(struct throttle *throttle, const char *key, int64_t now, int64_t limit_us)
{
	struct entry *entry;
	int64_t wait;

	pthread_mutex_lock(&throttle->lock);
	entry = find(throttle, key);
	if (!entry) {
		entry = oldest(throttle);
		*entry = (struct entry){ 0 };
		snprintf(entry->key, sizeof(entry->key), "%s", key);
	}
	if (now - entry->last > FORGET_US)
		entry->failures = 0;
	entry->last = now;
	if (++entry->failures >= FREE_TRIES) {
		unsigned doublings = entry->failures - FREE_TRIES;

		wait = SECOND_US << (doublings < 20 ? doublings : 20);
		entry->until = now + (wait < limit_us ? wait : limit_us);
	}
	pthread_mutex_unlock(&throttle->lock);
}

void throttle_passed(struct throttle *throttle, const char *key)
{
	struct entry *entry;

	pthread_mutex_lock(&throttle->lock);
	entry = find(throttle, key);
	if (entry)
		*entry = (struct entry){ 0 };
	pthread_mutex_unlock(&throttle->lock);
}
