/* One proof of a job at a time, and a queue with an end. */
#include "../test.h"

#include "server/engine/internal.h"
#include "server/store/jobs.h"

static void wake(void *context, const char *key) {}

static int add_jobs(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	json_auto_t *spec = json_pack("{s:s}", "name", "x");
	char id[8];

	for (int i = 0; i < 30; i++) {
		struct new_job job = { .id = id, .submitted_by = "ann", .spec = spec };

		snprintf(id, sizeof(id), "job-%02d", i);
		if (job_insert(tx, &job, error))
			return -1;
	}
	return 0;
}

static void the_queue_has_an_end_and_each_job_one_place(void **state)
{
	struct engine_options options = { .world = world_real(), .wake = wake, .uploads = { 1000, 10000, 100 } };
	struct engine *engine; /* not started: nothing is proved */
	struct rounds_error error;
	char first[37], again[37], id[8];
	int taken = 0;

	assert_int_equal(store_open(in(state, "db"), world_real(), &options.store, &error), 0);
	assert_int_equal(blobs_open(*state, &options.blobs, &error), 0);
	assert_int_equal(engine_open(&options, &engine, &error), 0);
	assert_int_equal(store_write(options.store, add_jobs, NULL, &error), 0);
	assert_int_equal(engine_verify(engine, "job-00", first, &error), 0);
	assert_int_equal(engine_verify(engine, "job-00", again, &error), 0);
	assert_string_equal(first, again);
	for (int i = 1; i < 30; i++) {
		snprintf(id, sizeof(id), "job-%02d", i);
		if (!engine_verify(engine, id, again, &error))
			taken++;
		else
			assert_int_equal(error.kind, ERROR_TOO_MANY);
	}
	assert_int_equal(taken, 19);
	assert_int_equal(engine_verify(engine, "job-00", again, &error), 0);
	assert_string_equal(first, again);
	assert_int_equal(engine_verify(engine, "none", again, &error), -1);
	assert_int_equal(error.kind, ERROR_NOT_FOUND);
	engine_close(engine);
	store_close(options.store);
	blobs_close(options.blobs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_test_in_directory(the_queue_has_an_end_and_each_job_one_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
