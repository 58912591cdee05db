#include "server/engine/presence.h"

#include "common/json.h"
#include "common/log.h"
#include "common/uuid.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM_AGAIN_US (5 * SECOND_US)
/* Whoever works says so every five seconds, give or take. */
#define WORD_AGAIN_US (13 * SECOND_US / 2)
/* A rival asks at least so often. */
#define DOUBLED_US (90 * SECOND_US)

struct seat {
	int64_t patience;    /* how long it may be silent */
	int64_t seen, heard; /* the last word: steady, and by the wall's clock; seen is 0 if there was none */
	int64_t worked;      /* the last word of a task */
	uint64_t ticket;     /* of the newest claim; 0: it must claim again */
	char instance[UUID_TEXT_SIZE];
	struct {
		char instance[UUID_TEXT_SIZE];
		uint64_t ticket; /* 0: there is no rival */
		int64_t since;
		json_t *holding;
		bool refused;
	} rival;
	int64_t doubled, doubled_last; /* since when by the wall's clock, and when last */
};

struct presence {
	struct world *world;
	pthread_mutex_t lock;
	json_t *places; /* {name: index of its seat}; a seat is never given to another site */
	struct seat *seats;
	size_t count, room;
	uint64_t tickets;
	int64_t since; /* steady: when this began to listen */
};

static int64_t now_of(const struct presence *presence)
{
	return world_steady_us(presence->world);
}

struct presence *presence_new(struct world *world)
{
	struct presence *presence = calloc(1, sizeof(*presence));

	if (!presence)
		return NULL;
	pthread_mutex_init(&presence->lock, NULL);
	presence->places = json_object();
	presence->world = world;
	presence->since = now_of(presence);
	return presence;
}

void presence_free(struct presence *presence)
{
	if (!presence)
		return;
	for (size_t i = 0; i < presence->count; i++)
		json_decref(presence->seats[i].rival.holding);
	free(presence->seats);
	json_decref(presence->places);
	pthread_mutex_destroy(&presence->lock);
	free(presence);
}

/* NULL if the site has never come. Of this and the next: with the lock held. */
static struct seat *seat_of(struct presence *presence, const char *site)
{
	const json_t *place = json_object_get(presence->places, site);

	return place ? &presence->seats[json_integer_value(place)] : NULL;
}

static struct seat *seat_made(struct presence *presence, const char *site)
{
	struct seat *seat = seat_of(presence, site);

	if (seat)
		return seat;
	if (presence->count == presence->room) {
		size_t room = presence->room ? 2 * presence->room : 64;
		struct seat *seats = realloc(presence->seats, room * sizeof(*seats));

		if (!seats)
			return NULL;
		presence->seats = seats;
		presence->room = room;
	}
	if (json_object_set_new(presence->places, site, json_integer((json_int_t)presence->count)))
		return NULL;
	seat = &presence->seats[presence->count++];
	*seat = (struct seat){ 0 };
	return seat;
}

static bool is_recent(const struct presence *presence, const struct seat *seat)
{
	return seat && seat->seen && now_of(presence) - seat->seen < seat->patience;
}

static void heard_of(const struct presence *presence, struct seat *seat)
{
	seat->seen = now_of(presence);
	seat->heard = world_wall_us(presence->world);
}

static bool has_open_rival(const struct seat *seat)
{
	return seat->rival.ticket && !seat->rival.refused;
}

static void rival_clear(struct seat *seat)
{
	json_decref(seat->rival.holding);
	memset(&seat->rival, 0, sizeof(seat->rival));
}

static void rival_refuse(const struct presence *presence, struct seat *seat, const char *site)
{
	int64_t now = now_of(presence);

	seat->rival.refused = true;
	if (!seat->doubled || now - seat->doubled_last > DOUBLED_US) {
		seat->doubled = world_wall_us(presence->world);
		log_warn("two programs have one site's identity: the one that was there goes on, the other waits",
			"site", site, "instance", seat->instance, "other", seat->rival.instance, NULL);
	}
	seat->doubled_last = now;
}

static void challenge(const struct presence *presence, struct seat *seat, struct arrival *arrival)
{
	bool again = has_open_rival(seat) && !strcmp(seat->rival.instance, arrival->instance);
	int64_t since = again ? seat->rival.since : now_of(presence);

	rival_clear(seat);
	snprintf(seat->rival.instance, sizeof(seat->rival.instance), "%s", arrival->instance);
	seat->rival.ticket = arrival->ticket;
	seat->rival.since = since;
	seat->rival.holding = json_incref((json_t *)(uintptr_t)arrival->holding);
	seat->ticket = 0;
	arrival->is_rival = true;
	arrival->wakes = true;
}

static void sit_down(const struct presence *presence, struct seat *seat, struct arrival *arrival)
{
	if (has_open_rival(seat)) {
		rival_refuse(presence, seat, arrival->site);
		arrival->wakes = true;
	}
	snprintf(seat->instance, sizeof(seat->instance), "%s", arrival->instance ? arrival->instance : "");
	seat->ticket = arrival->ticket;
	heard_of(presence, seat);
}

bool presence_claim(struct presence *presence, struct arrival *arrival)
{
	struct seat *seat;
	bool another;

	pthread_mutex_lock(&presence->lock);
	seat = seat_made(presence, arrival->site);
	if (seat) {
		arrival->ticket = ++presence->tickets;
		arrival->is_new = !is_recent(presence, seat);
		seat->patience = arrival->wait_us + PRESENT_US / 3;
		if (seat->patience < PRESENT_US)
			seat->patience = PRESENT_US;
		arrival->is_rival = arrival->wakes = false;
		another = arrival->instance && seat->instance[0] && strcmp(seat->instance, arrival->instance) != 0;
		if (arrival->is_new)
			rival_clear(seat);
		if (another && !arrival->is_new)
			challenge(presence, seat, arrival);
		else
			sit_down(presence, seat, arrival);
	}
	pthread_mutex_unlock(&presence->lock);
	return seat != NULL;
}

static bool rival_has_won(const struct presence *presence, const struct seat *seat)
{
	int64_t now = now_of(presence);

	return has_open_rival(seat) && now - seat->rival.since >= CLAIM_AGAIN_US &&
	       now - seat->worked >= WORD_AGAIN_US;
}

/* It claims again, and is then taken at its word. */
static void give_to_rival(const struct presence *presence, struct seat *seat, const char *site)
{
	log_info("a site's new process takes the place of one that is gone", "site", site, "instance",
		seat->rival.instance, NULL);
	snprintf(seat->instance, sizeof(seat->instance), "%s", seat->rival.instance);
	seat->doubled = 0;
	rival_clear(seat);
	heard_of(presence, seat);
}

enum standing presence_standing(struct presence *presence, const char *site, uint64_t ticket)
{
	enum standing standing = STANDING_OVER;
	struct seat *seat;

	pthread_mutex_lock(&presence->lock);
	seat = seat_of(presence, site);
	if (seat && seat->ticket == ticket)
		standing = STANDING_SEATED;
	else if (seat && seat->rival.ticket == ticket && seat->rival.refused)
		standing = STANDING_REFUSED;
	else if (seat && seat->rival.ticket == ticket && rival_has_won(presence, seat))
		give_to_rival(presence, seat, site);
	else if (seat && seat->rival.ticket == ticket)
		standing = STANDING_WAITING;
	pthread_mutex_unlock(&presence->lock);
	return standing;
}

bool presence_touch(struct presence *presence, const char *site, const char *task)
{
	struct seat *seat;
	bool refused = false;

	pthread_mutex_lock(&presence->lock);
	seat = seat_of(presence, site);
	if (seat && seat->seen)
		heard_of(presence, seat);
	if (seat && !(seat->rival.ticket && json_lists(seat->rival.holding, task))) {
		seat->worked = now_of(presence);
		refused = has_open_rival(seat);
		if (refused)
			rival_refuse(presence, seat, site);
	}
	pthread_mutex_unlock(&presence->lock);
	return refused;
}

void presence_settle(struct presence *presence, void (*wake)(void *context, const char *site), void *context)
{
	const char *site;
	json_t *place;

	pthread_mutex_lock(&presence->lock);
	json_object_foreach (presence->places, site, place)
		if (rival_has_won(presence, &presence->seats[json_integer_value(place)]))
			wake(context, site);
	pthread_mutex_unlock(&presence->lock);
}

bool presence_has(struct presence *presence, const char *site)
{
	bool recent;

	pthread_mutex_lock(&presence->lock);
	recent = is_recent(presence, seat_of(presence, site));
	pthread_mutex_unlock(&presence->lock);
	return recent;
}

int64_t presence_silence(struct presence *presence, const char *site)
{
	const struct seat *seat;
	int64_t seen;

	pthread_mutex_lock(&presence->lock);
	seat = seat_of(presence, site);
	seen = seat && seat->seen ? seat->seen : presence->since;
	pthread_mutex_unlock(&presence->lock);
	return now_of(presence) - seen;
}

int64_t presence_heard(struct presence *presence, const char *site)
{
	const struct seat *seat;
	int64_t heard;

	pthread_mutex_lock(&presence->lock);
	seat = seat_of(presence, site);
	heard = seat ? seat->heard : 0;
	pthread_mutex_unlock(&presence->lock);
	return heard;
}

int64_t presence_doubled(struct presence *presence, const char *site)
{
	const struct seat *seat;
	int64_t since = 0;

	pthread_mutex_lock(&presence->lock);
	seat = seat_of(presence, site);
	if (seat && seat->doubled && now_of(presence) - seat->doubled_last < DOUBLED_US)
		since = seat->doubled;
	pthread_mutex_unlock(&presence->lock);
	return since;
}

void presence_forget(struct presence *presence, const char *site)
{
	struct seat *seat;

	pthread_mutex_lock(&presence->lock);
	seat = seat_of(presence, site);
	if (seat) {
		rival_clear(seat);
		*seat = (struct seat){ 0 };
	}
	pthread_mutex_unlock(&presence->lock);
}
