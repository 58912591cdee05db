/*
 * A federation in one thread: a server's engine, store, blobs, auth and webhooks without its network, in a world whose time is
 * the test's. Sites and receivers of webhooks are puppets whose dice are thrown from the seed; nothing waits for anything but
 * simulated time, so a day passes in about a second and the same seed gives the same day.
 *
 *     struct federation f;
 *     federation_begin(&f, directory, seed);
 *     federation_step(&f);            // to the next moment at which anybody does anything
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
#include "common/tensors.h"
#include "common/uuid.h"
#include "server/auth/auth.h"
#include "server/auth/sites.h"
#include "server/engine/internal.h"
#include "server/observe/webhook_parts.h"
#include "server/observe/webhooks.h"
#include "server/store/db.h"
#include "server/store/identities.h"
#include "server/store/webhooks.h"

#include <openssl/evp.h>

enum { SITES = 8, RECEIVERS = 2, EVENTS_MAX = 20000 };

#define MINUTE_US (60 * SECOND_US)
#define HOUR_US   (60 * MINUTE_US)
/* How long a claim waits; and how often the engine looks at what has no moment of its own, such as who has fallen silent. */
#define CLAIM_US (15 * MINUTE_US)
#define LOOK_US  (5 * MINUTE_US)

struct federation;

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

static inline uint64_t throw_dice(struct federation *f, uint64_t sides)
{
	return random_next(&f->dice) % sides;
}

static inline int64_t between(struct federation *f, int64_t least, int64_t most)
{
	return least + (int64_t)throw_dice(f, (uint64_t)(most - least));
}

static inline struct puppet *puppet_named(struct federation *f, const char *name)
{
	for (size_t i = 0; i < SITES; i++)
		if (!strcmp(f->sites[i].name, name))
			return &f->sites[i];
	return NULL;
}

/* What main.c does with a notice. */
static inline void hear(void *context, const char *key)
{
	struct federation *f = context;
	enum topic topic;
	const char *id = notice_read(key, &topic);
	struct puppet *site = topic == TOPIC_SITE ? puppet_named(f, id) : NULL;

	if (site)
		site->woken = true;
	if (topic == TOPIC_JOB && f->webhooks)
		webhooks_touch(f->webhooks);
}

/* The receivers: each takes a while, and some answers are lost. */

static inline struct federation *of_transport(struct webhook_transport *transport)
{
	return (struct federation *)((char *)transport - offsetof(struct federation, transport));
}

static inline int post_send(struct webhook_transport *transport, void *receiver,
	const struct webhook_message *message, struct rounds_error *error)
{
	struct federation *f = of_transport(transport);
	size_t to = (size_t)(message->url[strlen(message->url) - 1] - '0');
	struct letter *letter = &f->letters[to];

	assert_null(letter->receiver); /* one at a time */
	*letter = (struct letter){ receiver, f->now + between(f, SECOND_US / 10, 5 * SECOND_US), 0, 200, to };
	assert_int_equal(sscanf(message->headers[1], "webhook-id: event-%ld", &letter->event), 1);
	if (f->outage || throw_dice(f, 20) == 0)
		letter->status = throw_dice(f, 2) ? 503 : 0;
	return 0;
}

static inline void post_cancel(struct webhook_transport *transport, void *receiver)
{
	struct federation *f = of_transport(transport);

	for (size_t i = 0; i < RECEIVERS; i++)
		if (f->letters[i].receiver == receiver)
			f->letters[i].receiver = NULL;
}

static inline void take_event(struct federation *f, const struct letter *letter)
{
	assert_in_range(letter->event, 1, EVENTS_MAX - 1);
	assert_true(letter->event >= f->last_told[letter->to]); /* in order; the last one again after a crash */
	f->last_told[letter->to] = letter->event;
	f->told[letter->to][letter->event]++;
}

static inline bool post_answer(struct webhook_transport *transport, struct webhook_answer *answer)
{
	struct federation *f = of_transport(transport);

	for (size_t i = 0; i < RECEIVERS; i++) {
		struct letter *letter = &f->letters[i];

		if (!letter->receiver || letter->answered > f->now)
			continue;
		*answer = (struct webhook_answer){ .receiver = letter->receiver, .status = letter->status };
		if (!letter->status)
			strcpy(answer->fault, "nobody answers");
		if (letter->status == 200)
			take_event(f, letter);
		letter->receiver = NULL;
		return true;
	}
	return false;
}

static inline void post_wait(struct webhook_transport *transport, int ms)
{
	struct federation *f = of_transport(transport);

	/* A minute: there is nothing to wait for that it knows of, or something later. */
	f->webhooks_due = f->now + (ms < 60000 ? ms * INT64_C(1000) : LOOK_US);
	for (size_t i = 0; i < RECEIVERS; i++)
		if (f->letters[i].receiver && f->letters[i].answered < f->webhooks_due)
			f->webhooks_due = f->letters[i].answered;
}

static inline void post_nothing(struct webhook_transport *transport) {}

/* The server's rooms. */

static inline void federation_open(struct federation *f)
{
	struct engine_options options = {
		.world = &f->world.world,
		.wake = hear,
		.context = f,
		.threads = 1,
		.uploads = { 1 << 20, 1 << 24, 100 },
	};
	char path[300];
	struct rounds_error error = { 0 };

	snprintf(path, sizeof(path), "%s/rounds.db", f->directory);
	memset(f->letters, 0, sizeof(f->letters));
	f->transport = (struct webhook_transport){ post_send, post_cancel, post_answer, post_wait, post_nothing,
		post_nothing };
	if (store_open(path, &f->world.world, &f->store, &error) || blobs_open(f->directory, &f->blobs, &error) ||
		auth_open(f->store, &f->world.world, &f->auth, &error))
		fail_msg("%s", error.message);
	options.store = f->store;
	options.blobs = f->blobs;
	if (engine_open(&options, &f->engine, &error) ||
		webhooks_new(f->store, &f->world.world, &f->transport, &f->webhooks, &error))
		fail_msg("%s", error.message);
	webhooks_touch(f->webhooks);
	f->engine->kicked = f->engine->work_to_aggregate = true;
	f->webhooks_due = f->due = f->now;
}

static inline void federation_close(struct federation *f)
{
	webhooks_free(f->webhooks);
	f->webhooks = NULL;
	engine_close(f->engine);
	auth_close(f->auth);
	store_close(f->store);
	blobs_close(f->blobs);
}

/* The server stops and starts, with the machine or alone. Sites go on. */
static inline void federation_restart(struct federation *f, bool boots)
{
	federation_close(f);
	if (boots) {
		f->world.boot++;
		f->world.steady = 20 * SECOND_US;
	}
	federation_open(f);
	f->restarts++;
	for (size_t i = 0; i < SITES; i++)
		if (f->sites[i].doing == POLLING)
			f->sites[i].next = f->now + between(f, SECOND_US, 30 * SECOND_US);
}

static inline void federation_write(struct federation *f, store_fn *fn, void *argument)
{
	struct rounds_error error = { 0 };

	if (store_write(f->store, fn, argument, &error))
		fail_msg("%s", error.message);
}

static inline int admit(struct store_tx *tx, void *name, struct rounds_error *error)
{
	return site_admit(tx, &(const struct new_site){ name, "01", INT64_MAX }, error);
}

static inline int add_webhook(struct store_tx *tx, void *id, struct rounds_error *error)
{
	json_auto_t *kinds = json_pack("[s, s, s, s, s]", "running", "completed", "failed", "aborted", "task_failed");
	char url[40], secret[WEBHOOK_SECRET_SIZE];

	snprintf(url, sizeof(url), "https://receiver.example/%s", (const char *)id);
	webhook_secret(tx->world, secret);
	return webhook_insert(tx,
		&(const struct new_webhook){ .id = id, .url = url, .secret = secret, .by = "ann", .kinds = kinds },
		error);
}

static inline void federation_begin(struct federation *f, const char *directory, uint64_t seed)
{
	memset(f, 0, sizeof(*f));
	test_world_begin(&f->world, seed);
	f->dice = seed * 77;
	f->directory = directory;
	f->accepted = json_object();
	federation_open(f);
	for (size_t i = 0; i < SITES; i++) {
		struct puppet *site = &f->sites[i];

		snprintf(site->name, sizeof(site->name), "site-%02zu", i);
		uuid_new(&f->world.world, site->instance);
		site->next = between(f, 0, 2 * HOUR_US); /* they come one after the other */
		federation_write(f, admit, site->name);
	}
	federation_write(f, add_webhook, "0");
	federation_write(f, add_webhook, "1");
	assert_int_equal(auth_refresh(f->auth, &(struct rounds_error){ 0 }), 0);
}

static inline void puppet_forgets(struct federation *f, struct puppet *site)
{
	json_decref(site->task);
	site->task = NULL;
	uuid_new(&f->world.world, site->instance); /* it has begun anew */
}

static inline void federation_end(struct federation *f)
{
	federation_close(f);
	for (size_t i = 0; i < SITES; i++) {
		json_decref(f->sites[i].task);
		json_decref(f->sites[i].facts);
	}
	json_decref(f->accepted);
}

/* Weights of one tensor, as a file's bytes: 8 of length, a header, four numbers. */
static inline size_t make_weights(float first, uint8_t bytes[256])
{
	static const uint64_t shape[] = { 4 };
	const struct tensor_plan plan = { "w", DTYPE_F32, 1, shape };
	float values[4] = { first, 1, 2, 3 };
	struct rounds_error error;
	uint8_t *header;
	size_t size;

	assert_int_equal(tensors_header(&plan, 1, NULL, &header, &size, &error), 0);
	memcpy(bytes, header, size);
	memcpy(bytes + size, values, sizeof(values));
	free(header);
	return size + sizeof(values);
}

/* A new reference. */
static inline json_t *make_result(struct federation *f, const char *kind)
{
	uint8_t bytes[256];
	size_t size = make_weights((float)++f->made, bytes); /* no two updates are the same */
	char base64[400], text[DIGEST_TEXT_SIZE];
	struct digest digest;
	json_t *body = json_pack("{s:i, s:{s:f}}", "weight", (int)throw_dice(f, 500) + 1, "metrics", "accuracy",
		(double)throw_dice(f, 1000) / 1000);

	if (!strcmp(kind, "evaluate"))
		return body;
	digest_of(bytes, size, &digest);
	digest_format(&digest, text);
	EVP_EncodeBlock((unsigned char *)base64, bytes, (int)size);
	json_object_set_new(body, "update", json_string(text));
	json_object_set_new(body, "update_data", json_string(base64));
	return body;
}

static inline void puppet_claims(struct federation *f, struct puppet *site);

static inline void puppet_begins(struct federation *f, struct puppet *site, json_t *task)
{
	static const enum fate fates[] = { FAILS, FAILS, FAILS_FOR_GOOD, DELIVERS_RUBBISH, GIVES_BACK, FALLS_SILENT,
		FALLS_SILENT, FORGETS };
	uint64_t fate = throw_dice(f, 40);

	site->doing = WORKING;
	site->task = task;
	site->fate = fate < sizeof(fates) / sizeof(fates[0]) ? fates[fate] : DELIVERS;
	site->ends = f->now + between(f, 20 * SECOND_US, 20 * MINUTE_US);
	site->next = f->now + json_integer_or(task, "lease_seconds", 60) * SECOND_US / 3;
	if (site->next > site->ends)
		site->next = site->ends;
}

static inline void puppet_looks(struct federation *f, struct puppet *site)
{
	struct rounds_error error = { 0 };
	json_t *task = NULL;

	site->woken = false;
	if (engine_claim(f->engine, &site->claim, &task, &error)) {
		assert_int_equal(
			error.kind, ERROR_CONFLICT); /* its forerunner lives, as far as the server can know */
		site->next = f->now + MINUTE_US;
		site->doing = AWAY;
	} else if (task) {
		puppet_begins(f, site, task);
	} else if (!engine_claim_may_wait(f->engine, &site->claim)) {
		site->next = f->now + SECOND_US;
		site->doing = AWAY;
	}
}

static inline void puppet_claims(struct federation *f, struct puppet *site)
{
	struct rounds_error error = { 0 };

	json_decref(site->facts);
	site->facts = json_pack("{s:i, s:s, s:i, s:[s], s:[s], s:[], s:s, s:{}}", "protocol", 2, "version", "0.1.0",
		"slots", 2, "datasets", "d", "executors", "trainer", "holding", "instance", site->instance, "tables");
	site->claim = (struct claim){ .site = site->name, .facts = site->facts, .wait_us = CLAIM_US };
	site->doing = POLLING;
	site->next = f->now + CLAIM_US;
	if (engine_claim_begin(f->engine, &site->claim, &error))
		fail_msg("%s: %s", site->name, error.message);
	puppet_looks(f, site);
}

/* The task is over, however it went. */
static inline void puppet_is_free(struct federation *f, struct puppet *site)
{
	json_decref(site->task);
	site->task = NULL;
	site->doing = AWAY;
	site->next = f->now + SECOND_US;
}

/* Said twice, it is in once, and both get one answer. */
static inline void puppet_delivers(struct federation *f, struct puppet *site)
{
	const char *id = json_text_or(site->task, "id", "");
	json_auto_t *body = make_result(f, json_text_or(site->task, "kind", "")), *answer = NULL, *again = NULL;
	struct rounds_error error = { 0 };

	if (engine_result(f->engine, site->name, id, body, &answer, &error)) {
		assert_true(error.kind == ERROR_CONFLICT || error.kind == ERROR_NOT_FOUND);
		f->late++;
		puppet_is_free(f, site);
		return;
	}
	assert_null(json_object_get(f->accepted, id));
	json_object_set_new(f->accepted, id, json_string(json_text_or(body, "update", "")));
	if (throw_dice(f, 8) == 0) {
		assert_int_equal(engine_result(f->engine, site->name, id, body, &again, &error), 0);
		assert_true(json_equal(answer, again));
		f->repeated++;
	}
	puppet_is_free(f, site);
}

static inline void puppet_fails(struct federation *f, struct puppet *site)
{
	const char *id = json_text_or(site->task, "id", "");
	json_auto_t *body = json_pack("{s:s, s:b}", "reason", "the dice", "retry", site->fate == FAILS);
	json_auto_t *rubbish = json_pack("{s:i}", "weight", -1), *answer = NULL;
	struct rounds_error error = { 0 };
	int failed = site->fate == GIVES_BACK ? engine_release(f->engine, site->name, id, &error)
		     : site->fate == DELIVERS_RUBBISH
			     ? engine_result(f->engine, site->name, id, rubbish, &answer, &error)
			     : engine_failure(f->engine, site->name, id, body, &error);

	f->refused += site->fate == DELIVERS_RUBBISH;
	assert_true(!failed || error.kind == ERROR_CONFLICT || error.kind == ERROR_NOT_FOUND ||
		    (site->fate == DELIVERS_RUBBISH && error.kind == ERROR_INVALID));
	puppet_is_free(f, site);
}

static inline void puppet_beats(struct federation *f, struct puppet *site)
{
	json_auto_t *body = json_pack("{s:s}", "stage", "train"), *answer = NULL;
	struct rounds_error error = { 0 };

	if (engine_heartbeat(f->engine, site->name, json_text_or(site->task, "id", ""), body, &answer, &error)) {
		assert_true(error.kind == ERROR_CONFLICT || error.kind == ERROR_NOT_FOUND);
		puppet_is_free(f, site); /* it was called off */
		return;
	}
	site->next = f->now + json_integer_or(answer, "lease_seconds", 60) * SECOND_US / 3;
	if (site->next > site->ends)
		site->next = site->ends;
}

static inline void puppet_works(struct federation *f, struct puppet *site)
{
	if (f->now < site->ends) {
		puppet_beats(f, site);
		return;
	}
	switch (site->fate) {
	case DELIVERS:
		puppet_delivers(f, site);
		break;
	case FALLS_SILENT: /* and delivers when it is back, be it too late */
		site->fate = DELIVERS;
		site->next = site->ends = f->now + between(f, MINUTE_US, 2 * HOUR_US);
		break;
	case FORGETS:
		puppet_forgets(f, site);
		site->doing = AWAY;
		site->next = f->now + between(f, SECOND_US, HOUR_US);
		break;
	default:
		puppet_fails(f, site);
	}
}

static inline void puppet_acts(struct federation *f, struct puppet *site)
{
	if (site->doing == WORKING)
		puppet_works(f, site);
	else if (site->doing == POLLING && f->now < site->next)
		puppet_looks(f, site);
	else
		puppet_claims(f, site);
	site->woken = false;
}

/* What the engine's three threads do, in turn, until none of them has anything left to do. */
static inline void federation_settle(struct federation *f)
{
	struct rounds_error error = { 0 };
	int64_t due;
	int turns = 0;

	do {
		assert_in_range(turns++, 0, 1000);
		f->engine->kicked = false;
		if (tick_once(f->engine, &due, &error))
			fail_msg("%s", error.message);
		while (f->engine->work_to_aggregate) {
			f->engine->work_to_aggregate = false;
			while (aggregate_once(f->engine, &error))
				;
			assert_int_equal(error.kind, ERROR_NONE);
		}
		while (f->engine->work_to_prove) {
			f->engine->work_to_prove = false;
			while (prove_once(f->engine))
				;
		}
	} while (f->engine->kicked);
	f->due = f->now + LOOK_US;
	if (due < f->world.steady + LOOK_US)
		f->due = f->now + (due - f->world.steady);
}

/* Passes to the next moment at which anybody does something, `before` at the latest, and lets them. */
static inline void federation_step(struct federation *f, int64_t before)
{
	int64_t next = f->due < f->webhooks_due ? f->due : f->webhooks_due;

	for (size_t i = 0; i < SITES; i++)
		if (f->sites[i].next < next)
			next = f->sites[i].next;
	if (next > before)
		next = before;
	if (next > f->now) {
		test_world_pass(&f->world, next - f->now);
		f->now = next;
	}
	for (size_t i = 0; i < SITES; i++) {
		struct puppet *site = &f->sites[i];

		if (site->next <= f->now || (site->woken && site->doing == POLLING && site->next < INT64_MAX))
			puppet_acts(f, site);
	}
	if (f->engine->kicked || f->engine->work_to_aggregate || f->engine->work_to_prove || f->due <= f->now)
		federation_settle(f);
	webhooks_turn(f->webhooks);
	f->steps++;
}

/* In memory where there is room: what is tried here is what happens, not that it is durable. */
static inline int make_fast_directory(void **state)
{
	char template[] = "/dev/shm/rounds-unit-XXXXXX";

	*state = access("/dev/shm", W_OK) == 0 && mkdtemp(template) ? strdup(template) : NULL;
	return *state ? 0 : make_directory(state);
}

#endif
