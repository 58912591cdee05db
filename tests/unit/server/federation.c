/* The server's rooms, and how time passes. */
#include "tests/unit/server/federation.h"

#include "server/store/db.h"
#include "server/store/identities.h"
#include "server/store/webhooks.h"

uint64_t throw_dice(struct federation *f, uint64_t sides)
{
	return random_next(&f->dice) % sides;
}

int64_t between(struct federation *f, int64_t least, int64_t most)
{
	return least + (int64_t)throw_dice(f, (uint64_t)(most - least));
}

/* What main.c does with a notice. */
static void hear(void *context, const char *key)
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

void federation_open(struct federation *f)
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
	receivers_begin(f);
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

void federation_close(struct federation *f)
{
	webhooks_free(f->webhooks);
	f->webhooks = NULL;
	engine_close(f->engine);
	auth_close(f->auth);
	store_close(f->store);
	blobs_close(f->blobs);
}

void federation_restart(struct federation *f, bool boots)
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

void federation_write(struct federation *f, store_fn *fn, void *argument)
{
	struct rounds_error error = { 0 };

	if (store_write(f->store, fn, argument, &error))
		fail_msg("%s", error.message);
}

int federation_admit(struct store_tx *tx, void *name, struct rounds_error *error)
{
	return site_admit(tx, &(const struct new_site){ name, "01", INT64_MAX }, error);
}

static int add_webhook(struct store_tx *tx, void *id, struct rounds_error *error)
{
	json_auto_t *kinds = json_pack("[s, s, s, s, s]", "running", "completed", "failed", "aborted", "task_failed");
	char url[40], secret[WEBHOOK_SECRET_SIZE];

	snprintf(url, sizeof(url), "https://receiver.example/%s", (const char *)id);
	webhook_secret(tx->world, secret);
	return webhook_insert(tx,
		&(const struct new_webhook){ .id = id, .url = url, .secret = secret, .by = "ann", .kinds = kinds },
		error);
}

void federation_begin(struct federation *f, const char *directory, uint64_t seed)
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
		federation_write(f, federation_admit, site->name);
	}
	federation_write(f, add_webhook, "0");
	federation_write(f, add_webhook, "1");
	assert_int_equal(auth_refresh(f->auth, &(struct rounds_error){ 0 }), 0);
}

void federation_end(struct federation *f)
{
	federation_close(f);
	for (size_t i = 0; i < SITES; i++) {
		json_decref(f->sites[i].task);
		json_decref(f->sites[i].facts);
	}
	json_decref(f->accepted);
}

struct row {
	const char *sql;
	json_t *row;
};

static int read_row(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct row *first = argument;

	return db_first(tx, error, &first->row, first->sql, "");
}

json_t *federation_row(struct federation *f, const char *sql)
{
	struct row first = { .sql = sql };
	struct rounds_error error = { 0 };

	if (store_read(f->store, read_row, &first, &error))
		fail_msg("%s", error.message);
	return first.row;
}

/* What the engine's three threads do, in turn, until none of them has anything left to do. */
static void settle(struct federation *f)
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

void federation_step(struct federation *f, int64_t before)
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
		settle(f);
	webhooks_turn(f->webhooks);
	f->steps++;
}

int make_fast_directory(void **state)
{
	char template[] = "/dev/shm/rounds-unit-XXXXXX";

	*state = access("/dev/shm", W_OK) == 0 && mkdtemp(template) ? strdup(template) : NULL;
	return *state ? 0 : make_directory(state);
}
