#include "server/store/specs.h"

#include "common/uuid.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 32 };

struct kept {
	char job[UUID_TEXT_SIZE];
	json_t *spec;  /* NULL: the place is free */
	uint64_t used; /* when it was asked for last, in times that any was */
};

struct specs {
	pthread_mutex_t lock;
	struct kept kept[KEPT];
	uint64_t asked;
};

struct specs *specs_new(void)
{
	struct specs *specs = calloc(1, sizeof(*specs));

	if (specs)
		pthread_mutex_init(&specs->lock, NULL);
	return specs;
}

void specs_free(struct specs *specs)
{
	if (!specs)
		return;
	for (size_t i = 0; i < KEPT; i++)
		json_decref(specs->kept[i].spec);
	pthread_mutex_destroy(&specs->lock);
	free(specs);
}

/* The job's place, or NULL. With the lock held, as the next. */
static struct kept *place_of(struct specs *specs, const char *job)
{
	for (size_t i = 0; i < KEPT; i++)
		if (specs->kept[i].spec && !strcmp(specs->kept[i].job, job))
			return &specs->kept[i];
	return NULL;
}

static struct kept *place_free(struct specs *specs)
{
	struct kept *oldest = &specs->kept[0];

	for (size_t i = 1; i < KEPT; i++)
		if (specs->kept[i].used < oldest->used)
			oldest = &specs->kept[i];
	return oldest;
}

static void put(struct specs *specs, struct kept *place, const char *job, const json_t *spec)
{
	json_decref(place->spec);
	snprintf(place->job, sizeof(place->job), "%s", job);
	place->spec = json_deep_copy(spec);
	place->used = place->spec ? ++specs->asked : 0;
}

json_t *specs_find(struct specs *specs, const char *job)
{
	struct kept *place;
	json_t *spec = NULL;

	pthread_mutex_lock(&specs->lock);
	place = place_of(specs, job);
	if (place) {
		place->used = ++specs->asked;
		spec = json_deep_copy(place->spec);
	}
	pthread_mutex_unlock(&specs->lock);
	return spec;
}

void specs_keep(struct specs *specs, const char *job, const json_t *spec)
{
	struct kept *place;

	pthread_mutex_lock(&specs->lock);
	place = place_of(specs, job);
	put(specs, place ? place : place_free(specs), job, spec);
	pthread_mutex_unlock(&specs->lock);
}

void specs_drop(struct specs *specs, const char *job)
{
	struct kept *place;

	pthread_mutex_lock(&specs->lock);
	place = place_of(specs, job);
	if (place)
		put(specs, place, "", NULL);
	pthread_mutex_unlock(&specs->lock);
}
