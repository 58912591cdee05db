#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/json.h"

#include <string.h>

struct presence {
	pthread_mutex_t lock;
	json_t *sites; /* {name: {"seen", "heard", "ticket"}}: seen by the steady clock, heard by the wall's */
	uint64_t tickets;
	int64_t since; /* steady: when this began to listen */
};

struct presence *presence_new(void)
{
	struct presence *presence = calloc(1, sizeof(*presence));

	if (!presence)
		return NULL;
	pthread_mutex_init(&presence->lock, NULL);
	presence->sites = json_object();
	presence->since = clock_steady_us();
	return presence;
}

void presence_free(struct presence *presence)
{
	if (!presence)
		return;
	json_decref(presence->sites);
	pthread_mutex_destroy(&presence->lock);
	free(presence);
}

static bool is_recent(const json_t *entry)
{
	return entry && clock_steady_us() - json_integer_or(entry, "seen", 0) < PRESENT_US;
}

uint64_t presence_claim(struct presence *presence, const char *site, bool *is_new)
{
	uint64_t ticket;

	pthread_mutex_lock(&presence->lock);
	*is_new = !is_recent(json_object_get(presence->sites, site));
	ticket = ++presence->tickets;
	if (json_object_set_new(presence->sites, site,
		    json_pack("{s:I, s:I, s:I}", "seen", (json_int_t)clock_steady_us(), "heard",
			    (json_int_t)clock_wall_us(), "ticket", (json_int_t)ticket)))
		ticket = 0;
	pthread_mutex_unlock(&presence->lock);
	return ticket;
}

bool presence_is_newest(struct presence *presence, const char *site, uint64_t ticket)
{
	bool newest;

	pthread_mutex_lock(&presence->lock);
	newest = json_integer_or(json_object_get(presence->sites, site), "ticket", 0) == (int64_t)ticket;
	pthread_mutex_unlock(&presence->lock);
	return newest;
}

void presence_touch(struct presence *presence, const char *site)
{
	json_t *entry;

	pthread_mutex_lock(&presence->lock);
	entry = json_object_get(presence->sites, site);
	if (entry) {
		json_integer_set(json_object_get(entry, "seen"), clock_steady_us());
		json_integer_set(json_object_get(entry, "heard"), clock_wall_us());
	}
	pthread_mutex_unlock(&presence->lock);
}

bool presence_has(struct presence *presence, const char *site)
{
	bool recent;

	pthread_mutex_lock(&presence->lock);
	recent = is_recent(json_object_get(presence->sites, site));
	pthread_mutex_unlock(&presence->lock);
	return recent;
}

int64_t presence_silence(struct presence *presence, const char *site)
{
	int64_t seen;

	pthread_mutex_lock(&presence->lock);
	seen = json_integer_or(json_object_get(presence->sites, site), "seen", presence->since);
	pthread_mutex_unlock(&presence->lock);
	return clock_steady_us() - seen;
}

int64_t presence_heard(struct presence *presence, const char *site)
{
	int64_t wall;

	pthread_mutex_lock(&presence->lock);
	wall = json_integer_or(json_object_get(presence->sites, site), "heard", 0);
	pthread_mutex_unlock(&presence->lock);
	return wall;
}

void presence_forget(struct presence *presence, const char *site)
{
	pthread_mutex_lock(&presence->lock);
	json_object_del(presence->sites, site);
	pthread_mutex_unlock(&presence->lock);
}
