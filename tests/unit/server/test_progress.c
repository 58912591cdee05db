/* What workflows keep of their jobs: written once a commit, undone with whatever is undone. */
#include "tests/unit/test.h"

#include "common/json.h"
#include "server/store/jobs.h"
#include "server/store/store.h"

#include <pthread.h>

static const char id[] = "0190f6a4-0000-4000-8000-000000000001";

static struct store *open_store(void **state)
{
	struct store *store;
	struct rounds_error error = { 0 };

	assert_int_equal(store_open(in(state, "db"), world_real(), &store, &error), 0);
	return store;
}

static int add_job(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	json_auto_t *spec = json_pack("{s:s, s:s, s:[s, s], s:[s]}", "name", "x", "workflow", "fedavg", "sites", "a",
		"b", "required_sites", "a");
	struct new_job job = { .id = id, .submitted_by = "me", .spec = spec, .rounds = 1 };

	return job_insert(tx, &job, error);
}

static int count(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	json_auto_t *progress = NULL;

	if (job_progress(tx, id, &progress, error) ||
		json_object_set_new(progress, "n", json_integer(json_integer_or(progress, "n", 0) + 1)))
		return -1;
	return job_set_progress(tx, id, progress, error);
}

static int count_and_fail(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return count(tx, argument, error) ? -1 : error_set(error, ERROR_CONFLICT, "on purpose");
}

static int look(struct store_tx *tx, void *counted, struct rounds_error *error)
{
	json_auto_t *progress = NULL;

	if (job_progress(tx, id, &progress, error))
		return -1;
	*(int64_t *)counted = json_integer_or(progress, "n", 0);
	return 0;
}

static int64_t counted(struct store *store)
{
	struct rounds_error error = { 0 };
	int64_t n = -1;

	assert_int_equal(store_read(store, look, &n, &error), 0);
	return n;
}

/* Two that count around one that is undone, and one that is undone as a whole. */
static int nest(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct rounds_error inner = { 0 };

	assert_int_equal(count(tx, NULL, error), 0);
	assert_int_equal(store_nested(tx, count_and_fail, NULL, &inner), -1);
	assert_int_equal(store_nested(tx, count, NULL, &inner), 0);
	return argument ? error_set(error, ERROR_CONFLICT, "on purpose") : 0;
}

static void what_is_undone_is_not_kept(void **state)
{
	struct store *store = open_store(state);
	struct rounds_error error = { 0 };

	assert_int_equal(store_write(store, add_job, NULL, &error), 0);
	assert_int_equal(counted(store), 0);
	assert_int_equal(store_write(store, nest, NULL, &error), 0);
	assert_int_equal(counted(store), 2);
	assert_int_equal(store_write(store, nest, store, &error), -1);
	assert_int_equal(counted(store), 2);
	store_close(store);
	store = open_store(state);
	assert_int_equal(counted(store), 2);
	store_close(store);
}

static int count_and_delete(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return count(tx, argument, error) || job_delete(tx, id, error) ? -1 : 0;
}

static void a_job_that_is_gone_keeps_nothing(void **state)
{
	struct store *store = open_store(state);
	struct rounds_error error = { 0 };

	assert_int_equal(store_write(store, add_job, NULL, &error), 0);
	assert_int_equal(store_write(store, count, NULL, &error), 0);
	assert_int_equal(store_write(store, count_and_delete, NULL, &error), 0);
	assert_int_equal(counted(store), 0);
	store_close(store);
}

enum { THREADS = 8, TURNS = 60 };

static void *count_often(void *argument)
{
	struct rounds_error error;

	for (int i = 0; i < TURNS; i++)
		assert_int_equal(store_write(argument, i % 3 ? count : count_and_fail, NULL, &error), i % 3 ? 0 : -1);
	return NULL;
}

/* Some share a commit with some that fail: each sees what those before it left, and nothing of the failed. */
static void writes_of_one_commit_see_each_other(void **state)
{
	struct store *store = open_store(state);
	struct rounds_error error = { 0 };
	pthread_t threads[THREADS];

	assert_int_equal(store_write(store, add_job, NULL, &error), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_often, store), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(counted(store), THREADS * TURNS * 2 / 3);
	store_close(store);
}

static int find_twice(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	json_auto_t *one = NULL, *two = NULL;

	if (job_find_at_work(tx, id, &one, error) || job_find_at_work(tx, id, &two, error))
		return -1;
	assert_string_equal(json_text_or(json_object_get(one, "spec"), "workflow", ""), "fedavg");
	/* A copy for each: threads share no value. */
	assert_true(json_equal(json_object_get(one, "spec"), json_object_get(two, "spec")));
	assert_ptr_not_equal(json_object_get(one, "spec"), json_object_get(two, "spec"));
	return 0;
}

static void a_spec_is_found_until_its_job_is_gone(void **state)
{
	struct store *store = open_store(state);
	struct rounds_error error = { 0 };

	assert_int_equal(store_write(store, add_job, NULL, &error), 0);
	assert_int_equal(store_write(store, find_twice, NULL, &error), 0);
	assert_int_equal(store_read(store, find_twice, NULL, &error), 0);
	assert_int_equal(store_write(store, count_and_delete, NULL, &error), 0);
	assert_int_equal(store_read(store, find_twice, NULL, &error), -1);
	assert_int_equal(error.kind, ERROR_NOT_FOUND);
	store_close(store);
}

/* First from the row, then as it is kept. */
static int find_with_and_without_names(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	static const char *const names[] = { "sites", "required_sites" };

	for (int i = 0; i < 2; i++) {
		json_auto_t *whole = NULL, *at_work = NULL;

		if (job_find(tx, id, &whole, error) || job_find_at_work(tx, id, &at_work, error))
			return -1;
		for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
			assert_true(json_array_size(json_object_get(json_object_get(whole, "spec"), names[n])) > 0);
			json_object_del(json_object_get(whole, "spec"), names[n]);
		}
		assert_true(json_equal(whole, at_work));
	}
	return 0;
}

static void a_job_at_work_lacks_the_names_of_its_sites_alone(void **state)
{
	struct store *store = open_store(state);
	struct rounds_error error = { 0 };

	assert_int_equal(store_write(store, add_job, NULL, &error), 0);
	assert_int_equal(store_write(store, find_with_and_without_names, NULL, &error), 0);
	assert_int_equal(store_read(store, find_with_and_without_names, NULL, &error), 0);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_test_in_directory(what_is_undone_is_not_kept),
		unit_test_in_directory(a_job_that_is_gone_keeps_nothing),
		unit_test_in_directory(writes_of_one_commit_see_each_other),
		unit_test_in_directory(a_spec_is_found_until_its_job_is_gone),
		unit_test_in_directory(a_job_at_work_lacks_the_names_of_its_sites_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
