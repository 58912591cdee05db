/*
 * A federation in one thread: a server's engine, store, blobs, auth and webhooks without its network, in a world whose time is
 * the test's. Sites and receivers of webhooks are puppets whose dice are thrown from the seed; nothing waits for anything but
 * simulated time, so a day passes in about a second and the same seed gives the same day.
 *
 *     struct federation f;
 *     federation_begin(&f, directory, seed);
 *     federation_step(&f, before);    // to the next moment at which anybody does anything
 *     federation_end(&f);
 *
 * Three clocks: `now` is true time and never jumps; the world's steady time begins anew when the machine boots, its wall time is
 * what somebody has set it to.
 */
#ifndef ROUNDS_TESTS_UNIT_FEDERATION_H
#define ROUNDS_TESTS_UNIT_FEDERATION_H

#include "tests/unit/test.h"
#include "tests/unit/world.h"

#include "common/json.h"
#include "common/uuid.h"
#include "server/auth/auth.h"
#include "server/engine/internal.h"
#include "server/observe/webhook_parts.h"
#include "server/observe/webhooks.h"

enum { SITES = 8, RECEIVERS = 2, EVENTS_MAX = 20000 };

#define MINUTE_US (60 * SECOND_US)
#define HOUR_US   (60 * MINUTE_US)
/* How long a claim waits; and how often the engine looks at what has no moment of its own, such as who has fallen silent. */
#define CLAIM_US (15 * MINUTE_US)
#define LOOK_US  (5 * MINUTE_US)

enum doing { AWAY, POLLING, WORKING };

/* What becomes of a task at a site, chosen when it begins. */
enum fate { DELIVERS, FAILS, FAILS_FOR_GOOD, DELIVERS_RUBBISH, GIVES_BACK, FALLS_SILENT, FORGETS };

struct puppet {
	char name[16], instance[UUID_TEXT_SIZE];
	enum doing doing;
	enum fate fate;
	int64_t next; /* when it does something, true time */
	int64_t ends; /* when its work is done */
	json_t *facts, *task;
	struct claim claim;
	bool woken;
};

/* A message on its way to a receiver of webhooks. */
struct letter {
	void *receiver;
	int64_t answered; /* when, true time */
	long event, status;
	size_t to;
};

struct federation {
	struct test_world world;
	uint64_t dice;
	int64_t now, due; /* due: when the engine has something to do, true time */
	const char *directory;
	struct store *store;
	struct blobs *blobs;
	struct auth *auth;
	struct engine *engine;
	struct webhooks *webhooks;
	struct webhook_transport transport;
	struct letter letters[RECEIVERS];
	int64_t webhooks_due;
	unsigned char told[RECEIVERS][EVENTS_MAX]; /* how often the receiver has taken the event */
	long last_told[RECEIVERS];
	bool outage; /* receivers answer 503 */
	struct puppet sites[SITES];
	json_t *accepted; /* {task: digest of the update, or ""}: whatever a site was told is in */
	size_t steps, made, repeated, late, refused, restarts;
};

/* Of so many sides; and a moment from `least` on, before `most`. */
uint64_t throw_dice(struct federation *f, uint64_t sides);
int64_t between(struct federation *f, int64_t least, int64_t most);

/* `directory` is borrowed until the end. */
void federation_begin(struct federation *f, const char *directory, uint64_t seed);
void federation_end(struct federation *f);
/* The server alone; federation_begin and federation_end do it, too. */
void federation_open(struct federation *f);
void federation_close(struct federation *f);
/* The server stops and starts, with the machine or alone. Sites go on. */
void federation_restart(struct federation *f, bool boots);
/* Passes to the next moment at which anybody does something, `before` at the latest, and lets them. */
void federation_step(struct federation *f, int64_t before);
/* In a transaction that does not fail. */
void federation_write(struct federation *f, store_fn *fn, void *argument);
/* A store_fn: the site of that name may claim. */
int federation_admit(struct store_tx *tx, void *name, struct rounds_error *error);
/* The first row, or NULL: a new reference. */
json_t *federation_row(struct federation *f, const char *sql);

/* puppet.c: a site claims, looks whether its claim brings something, works on it. */
struct puppet *puppet_named(struct federation *f, const char *name);
void puppet_acts(struct federation *f, struct puppet *site);
/* It has begun anew. */
void puppet_forgets(struct federation *f, struct puppet *site);
/* The body of a result of a task of that kind, with an update of its own: a new reference. */
json_t *puppet_result(struct federation *f, const char *kind);

/* receivers.c: f->transport leads to the receivers, with nothing under way. */
void receivers_begin(struct federation *f);

/* For a test's setup. In memory where there is room: what is tried here is what happens, not that it is durable. */
int make_fast_directory(void **state);

#endif
