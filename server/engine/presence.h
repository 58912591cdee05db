/*
 * Who polls; in memory only, found again within a minute of a start. Each site has one seat, and on it sits one process: the
 * instance that it names in its claims. A claim gets a ticket; the newest of whoever sits is the one that gets work.
 *
 * When another process comes with the same identity - a restart, or a state directory that was copied - it becomes the
 * rival, and the poll of whoever sits is ended. If that one claims again within five seconds, or tells of a task meanwhile,
 * it lives: the rival is refused and its operator told. Else it is dead, and the rival takes the seat. A program of an older
 * protocol names no instance: whoever claimed last sits.
 *
 * All functions may be called from any thread.
 */
#ifndef ROUNDS_SERVER_ENGINE_PRESENCE_H
#define ROUNDS_SERVER_ENGINE_PRESENCE_H

#include "common/world.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A site that is silent for longer than this is away, or for longer than its claim waits and a third of this. */
#define PRESENT_US (45 * SECOND_US)

struct presence;

/* `world` says what time it is. */
struct presence *presence_new(struct world *world);
void presence_free(struct presence *presence);

/* A site asks for work. */
struct arrival {
	const char *site, *instance; /* the instance may be NULL */
	int64_t wait_us;             /* how long its claim waits */
	const json_t *holding;       /* ids of the tasks that it works on or has results of; may be NULL */
	/* Filled in. */
	uint64_t ticket;
	bool is_new;   /* the site was away */
	bool is_rival; /* another sits there: what it says of itself does not count yet */
	bool wakes;    /* others' polls of this site have something to learn */
};
/* False without memory. */
bool presence_claim(struct presence *presence, struct arrival *arrival);

enum standing {
	STANDING_SEATED,  /* may have work */
	STANDING_WAITING, /* a rival, until it is known whether the other lives */
	STANDING_REFUSED, /* a rival, and the other lives */
	STANDING_OVER,    /* a newer claim took its place, or the rival has won: it is to claim again */
};
enum standing presence_standing(struct presence *presence, const char *site, uint64_t ticket);

/* The site has spoken of a task. True if a rival is refused by that: its poll is to be woken. */
bool presence_touch(struct presence *presence, const char *site, const char *task);

/* Calls `wake` with the name of each site whose rival has won by now. */
void presence_settle(struct presence *presence, void (*wake)(void *context, const char *site), void *context);

bool presence_has(struct presence *presence, const char *site);
/* How long nothing was heard of it, in microseconds: since the start if nothing ever was. */
int64_t presence_silence(struct presence *presence, const char *site);
/* When it was last heard of, wall time in microseconds; 0: not since the start. */
int64_t presence_heard(struct presence *presence, const char *site);
/* Since when a second process asks for its work, wall time in microseconds; 0: none does. */
int64_t presence_doubled(struct presence *presence, const char *site);
void presence_forget(struct presence *presence, const char *site);

#endif
