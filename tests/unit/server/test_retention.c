/* The same bytes are uploaded again and again while the sweep removes them: whoever was told that they are there finds them there. */
#include "../test.h"

#include "server/blobs/layout.h"
#include "server/engine/internal.h"
#include "server/store/db.h"

#include <pthread.h>
#include <stdatomic.h>

enum { TURNS = 400 };

static void wake(void *context, const char *key) {}

static struct engine *open_engine(void **state)
{
	struct engine_options options = { .world = world_real(), .wake = wake, .uploads = { 1000, 10000, 100 } };
	struct engine *engine;
	struct rounds_error error;

	assert_int_equal(store_open(in(state, "db"), world_real(), &options.store, &error), 0);
	assert_int_equal(blobs_open(*state, &options.blobs, &error), 0);
	assert_int_equal(engine_open(&options, &engine, &error), 0);
	return engine;
}

static void close_engine(struct engine *engine)
{
	struct engine_options options = engine->options;

	engine_close(engine);
	store_close(options.store);
	blobs_close(options.blobs);
}

static void upload(struct engine *engine, const char *id, const char *text)
{
	const struct new_upload row = { .id = id, .owner = "site:a", .length = strlen(text) };
	struct rounds_error error;
	struct upload *writing;
	uint64_t offset;

	assert_int_equal(engine_upload_new(engine, &row, true, &error), 0);
	assert_int_equal(upload_begin(engine->options.blobs, id, row.owner, 0, &writing, &error), 0);
	assert_int_equal(upload_write(writing, text, strlen(text), &error), 0);
	assert_int_equal(upload_end(writing, &offset, &error), 0);
	assert_int_equal(engine_upload_complete(engine, id, row.owner, NULL, &error), 0);
}

/* Everything is as old as can be, so that the next sweep dooms it. */
static int age(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE blob SET created_us = 0", "");
}

/* What is not doomed has a file, in this transaction and so at any time that anyone can look. */
static int look(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct engine *engine = argument;
	json_auto_t *blob = NULL;
	struct digest digest;
	char text[DIGEST_TEXT_SIZE];

	digest_of("popular", 7, &digest);
	digest_format(&digest, text);
	if (blob_index_find(tx, text, &blob, error))
		return -1;
	return blob && !blob_is_there(engine->options.blobs, &digest) ? -1 : 0;
}

struct sweeper {
	struct engine *engine;
	atomic_bool stop;
	int lost;
};

static void *sweep_on(void *argument)
{
	struct sweeper *sweeper = argument;
	struct store *store = sweeper->engine->options.store;
	struct rounds_error error = { 0 };

	while (!sweeper->stop) {
		sweeper->lost += store_write(store, age, NULL, &error) != 0;
		sweeper->lost += sweep(sweeper->engine, &error) != 0;
		sweeper->lost += store_write(store, look, sweeper->engine, &error) != 0;
	}
	return NULL;
}

static void uploads_and_sweeps_of_the_same_bytes_lose_nothing(void **state)
{
	struct engine *engine = open_engine(state);
	struct sweeper sweeper = { .engine = engine };
	struct rounds_error error;
	pthread_t thread;
	char id[16];

	assert_int_equal(pthread_create(&thread, NULL, sweep_on, &sweeper), 0);
	for (int turn = 0; turn < TURNS; turn++) {
		snprintf(id, sizeof(id), "u%d", turn);
		upload(engine, id, "popular");
		assert_int_equal(store_write(engine->options.store, look, engine, &error), 0);
	}
	sweeper.stop = true;
	pthread_join(thread, NULL);
	assert_int_equal(sweeper.lost, 0);
	assert_true(LIST_EMPTY(&engine->options.blobs->appearing));
	close_engine(engine);
}

static void what_is_swept_is_gone_from_disk_and_index(void **state)
{
	struct engine *engine = open_engine(state);
	struct digest digest;
	struct rounds_error error;

	upload(engine, "u", "unused");
	digest_of("unused", 6, &digest);
	assert_int_equal(sweep(engine, &error), 0);
	assert_true(blob_is_there(engine->options.blobs, &digest));
	assert_int_equal(store_write(engine->options.store, age, NULL, &error), 0);
	assert_int_equal(sweep(engine, &error), 0);
	assert_false(blob_is_there(engine->options.blobs, &digest));
	close_engine(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_test_in_directory(uploads_and_sweeps_of_the_same_bytes_lose_nothing),
		unit_test_in_directory(what_is_swept_is_gone_from_disk_and_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
