#include "tests/unit/test.h"

#include "common/json.h"
#include "server/blobs/blobs.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/store.h"
#include "server/store/tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

static struct store *open_store(void **state)
{
	struct store *store;
	struct rounds_error error = { 0 };

	assert_int_equal(store_open(in(state, "db"), world_real(), &store, &error), 0);
	return store;
}

static int add_job(struct store_tx *tx, void *id, struct rounds_error *error)
{
	json_auto_t *spec = json_pack("{s:s, s:s}", "name", "x", "workflow", "fedavg");
	struct new_job job = { .id = id, .submitted_by = "me", .spec = spec, .rounds = 1 };

	return job_insert(tx, &job, error);
}

static int find_job(struct store_tx *tx, void *id, struct rounds_error *error)
{
	json_auto_t *job = NULL;

	return job_find(tx, id, &job, error);
}

static int add_and_fail(struct store_tx *tx, void *id, struct rounds_error *error)
{
	return add_job(tx, id, error) ? -1 : error_set(error, ERROR_CONFLICT, "on purpose");
}

static void count_call(void *context, const char *key)
{
	(*(int *)context)++;
}

static int said;

static int say_and_fail(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return store_after_commit(tx, count_call, &said, "undone", error)
		       ? -1
		       : error_set(error, ERROR_CONFLICT, "on purpose");
}

static int say_around(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct rounds_error inner = { 0 };

	if (store_after_commit(tx, count_call, &said, "done", error))
		return -1;
	assert_int_equal(store_nested(tx, say_and_fail, NULL, &inner), -1);
	return 0;
}

static void what_was_undone_is_not_said(void **state)
{
	struct store *store = open_store(state);
	struct rounds_error error = { 0 };

	said = 0;
	assert_int_equal(store_write(store, say_around, NULL, &error), 0);
	assert_int_equal(said, 1);
	store_close(store);
}

static int nest(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct rounds_error inner = { 0 };

	if (add_job(tx, "outer", error))
		return -1;
	assert_int_equal(store_nested(tx, add_and_fail, "inner", &inner), -1);
	assert_int_equal(inner.kind, ERROR_CONFLICT);
	return add_job(tx, "after", error);
}

static void a_write_that_fails_undoes_itself_alone(void **state)
{
	struct store *store = open_store(state);
	struct rounds_error error = { 0 };

	assert_int_equal(store_write(store, add_job, "kept", &error), 0);
	assert_int_equal(store_write(store, add_and_fail, "gone", &error), -1);
	assert_string_equal(error.message, "on purpose");
	assert_int_equal(store_read(store, find_job, "kept", &error), 0);
	assert_int_equal(store_read(store, find_job, "gone", &error), -1);
	assert_int_equal(error.kind, ERROR_NOT_FOUND);
	assert_int_equal(store_write(store, nest, NULL, &error), 0);
	assert_int_equal(store_read(store, find_job, "outer", &error), 0);
	assert_int_equal(store_read(store, find_job, "after", &error), 0);
	assert_int_equal(store_read(store, find_job, "inner", &error), -1);
	store_close(store);
}

static void *write_many(void *argument)
{
	struct store *store = ((void **)argument)[0];
	const char *name = ((void **)argument)[1];
	struct rounds_error error;

	for (int i = 0; i < 50; i++) {
		char id[40];

		snprintf(id, sizeof(id), "%s-%d", name, i);
		assert_int_equal(store_write(store, add_job, id, &error), 0);
	}
	return NULL;
}

static int list_jobs(struct store_tx *tx, void *list, struct rounds_error *error)
{
	struct job_filter filter = { .scope = &scope_all, .limit = 100000 };

	return job_list(tx, &filter, list, error);
}

static void writers_at_once_share_commits_and_lose_nothing(void **state)
{
	struct store *store = open_store(state);
	pthread_t threads[8];
	char names[8][4];
	void *arguments[8][2];
	struct store_counters counters;
	struct rounds_error error;
	json_t *jobs = NULL;

	for (int i = 0; i < 8; i++) {
		snprintf(names[i], sizeof(names[i]), "t%d", i);
		arguments[i][0] = store;
		arguments[i][1] = names[i];
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, arguments[i]), 0);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	store_counters(store, &counters);
	assert_int_equal(counters.writes, 400);
	assert_true(counters.commits < 400);
	assert_int_equal(store_read(store, list_jobs, &jobs, &error), 0);
	assert_int_equal(json_array_size(jobs), 400);
	json_decref(jobs);
	store_close(store);
	store = open_store(state); /* and after a restart */
	jobs = NULL;
	assert_int_equal(store_read(store, list_jobs, &jobs, &error), 0);
	assert_int_equal(json_array_size(jobs), 400);
	json_decref(jobs);
	store_close(store);
}

static int task_twice(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct new_task task = { .job = "j", .kind = "train", .site = "a", .round = 1, .lease_us = 1 };

	return task_insert(tx, &task, error) || task_insert(tx, &task, error) ? -1 : 0;
}

static void there_is_one_task_for_a_job_round_and_site(void **state)
{
	struct store *store = open_store(state);
	struct rounds_error error;

	assert_int_equal(store_write(store, add_job, "j", &error), 0);
	assert_int_equal(store_write(store, task_twice, NULL, &error), -1);
	assert_says(error, "UNIQUE");
	store_close(store);
}

static void a_newer_database_is_left_untouched(void **state)
{
	struct store *store = open_store(state);
	struct rounds_error error = { 0 };
	sqlite3 *db;

	store_close(store);
	assert_int_equal(sqlite3_open(in(state, "db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(store_open(in(state, "db"), world_real(), &store, &error), -1);
	assert_says(error, "install a newer rounds-server");
	write_file(in(state, "db"), "this is no database, whatever it says", 37);
	assert_int_equal(store_open(in(state, "db"), world_real(), &store, &error), -1);
}

static void blobs_appear_whole_or_not_at_all(void **state)
{
	const struct upload_facts facts = { .id = "u", .owner = "site:a", .length = 6 };
	struct blobs *blobs;
	struct upload *upload;
	struct digest digest, wrong = { { 1 } };
	struct rounds_error error = { 0 };
	struct view view = { 0 };
	uint64_t offset;

	assert_int_equal(blobs_open(*state, &blobs, &error), 0);
	assert_int_equal(upload_create(blobs, &facts, &error), 0);
	assert_int_equal(upload_begin(blobs, "u", "site:a", 0, &upload, &error), 0);
	struct upload *second;
	assert_int_equal(upload_begin(blobs, "u", "site:b", 0, &second, &error), -1);
	assert_int_equal(error.kind, ERROR_NOT_FOUND);
	assert_int_equal(upload_begin(blobs, "u", "site:a", 0, &second, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFLICT);
	assert_int_equal(upload_write(upload, "abc", 3, &error), 0);
	assert_int_equal(upload_write(upload, "defg", 4, &error), -1);
	assert_int_equal(error.kind, ERROR_TOO_LARGE);
	assert_int_equal(upload_end(upload, &offset, &error), 0);
	assert_int_equal(offset, 3);
	assert_int_equal(upload_begin(blobs, "u", "site:a", 2, &upload, &error), -1);
	assert_int_equal(upload_begin(blobs, "u", "site:a", 3, &upload, &error), 0);
	assert_int_equal(upload_write(upload, "def", 3, &error), 0);
	assert_int_equal(upload_end(upload, &offset, &error), 0);
	digest_of("abcdef", 6, &digest);
	assert_int_equal(blob_hold(blobs, &digest, &view, &error), -1);
	assert_int_equal(upload_complete(blobs, "u", &digest, &digest, &error), 0);
	assert_int_equal(blob_hold(blobs, &digest, &view, &error), 0);
	assert_int_equal(view.size, 6);
	assert_memory_equal(view.bytes, "abcdef", 6);
	assert_int_equal(blob_verify(blobs, &digest, &error), 0);
	assert_int_equal(blob_hold(blobs, &wrong, &view, &error), -1);
	assert_false(blob_remove(blobs, &digest));
	assert_true(blob_is_there(blobs, &digest));
	blob_settle(blobs, &digest);
	assert_true(blob_remove(blobs, &digest));
	assert_true(blob_remove(blobs, &digest));
	assert_false(blob_is_there(blobs, &digest));
	assert_memory_equal(view.bytes, "abcdef", 6);
	view_release(view);
	assert_int_equal(blob_hold(blobs, &digest, &view, &error), -1);
	assert_int_equal(error.kind, ERROR_NOT_FOUND);
	blobs_close(blobs);
}

static int descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static void an_idle_upload_keeps_no_descriptor(void **state)
{
	struct blobs *blobs;
	struct upload *upload;
	struct rounds_error error = { 0 };
	uint64_t offset, all, own;
	int before;

	assert_int_equal(blobs_open(*state, &blobs, &error), 0);
	before = descriptors();
	for (int i = 0; i < 50; i++) {
		char id[8];

		snprintf(id, sizeof(id), "u%d", i);
		const struct upload_facts facts = { .id = id, .owner = i % 2 ? "site:a" : "site:b", .length = 10 };
		assert_int_equal(upload_create(blobs, &facts, &error), 0);
		assert_int_equal(upload_begin(blobs, id, facts.owner, 0, &upload, &error), 0);
		assert_int_equal(upload_write(upload, "x", 1, &error), 0);
		assert_int_equal(upload_end(upload, &offset, &error), 0);
	}
	assert_int_equal(descriptors(), before);
	uploads_promised(blobs, "site:a", &all, &own);
	assert_int_equal(all, 450);
	assert_int_equal(own, 225);
	blobs_close(blobs);
}

static void an_upload_that_is_removed_while_it_is_written_is_gone(void **state)
{
	const struct upload_facts facts = { .id = "u", .owner = "site:a", .length = 6 };
	struct blobs *blobs;
	struct upload *upload;
	struct rounds_error error = { 0 };
	uint64_t offset;
	int before;

	assert_int_equal(blobs_open(*state, &blobs, &error), 0);
	before = descriptors();
	assert_int_equal(upload_create(blobs, &facts, &error), 0);
	assert_int_equal(upload_begin(blobs, "u", "site:a", 0, &upload, &error), 0);
	assert_true(upload_is_active(blobs, "u"));
	upload_remove(blobs, "u");
	assert_int_equal(upload_offset(blobs, "u", &offset, &error), -1);
	assert_int_equal(upload_write(upload, "abc", 3, &error), -1);
	assert_int_equal(error.kind, ERROR_NOT_FOUND);
	assert_int_equal(upload_end(upload, &offset, &error), -1);
	assert_int_equal(error.kind, ERROR_NOT_FOUND);
	assert_int_equal(access(in(state, "uploads/u"), F_OK), -1);
	assert_int_equal(descriptors(), before);
	assert_int_equal(uploads_active(blobs), 0);
	blobs_close(blobs);
}

static void after_a_restart_uploads_go_on_and_strays_are_removed(void **state)
{
	const struct upload_facts kept = { .id = "u", .owner = "site:a", .length = 6 },
				  lost = { .id = "v", .owner = "site:a", .length = 6 };
	struct blobs *blobs;
	struct upload *upload;
	struct rounds_error error = { 0 };
	struct digest digest;
	uint64_t offset;

	assert_int_equal(blobs_open(*state, &blobs, &error), 0);
	write_file(in(state, "uploads/u"), "abc", 3);
	write_file(in(state, "uploads/stray"), "abc", 3);
	assert_int_equal(upload_find_again(blobs, &kept, &error), 0);
	assert_int_equal(upload_find_again(blobs, &lost, &error), 0);
	assert_int_equal(uploads_clear(blobs, &error), 0);
	assert_int_equal(access(in(state, "uploads/stray"), F_OK), -1);
	assert_int_equal(upload_offset(blobs, "v", &offset, &error), -1);
	assert_int_equal(upload_begin(blobs, "u", "site:a", 3, &upload, &error), 0);
	assert_int_equal(upload_write(upload, "def", 3, &error), 0);
	assert_int_equal(upload_end(upload, &offset, &error), 0);
	digest_of("abcdef", 6, &digest);
	assert_int_equal(upload_complete(blobs, "u", &digest, &digest, &error), 0);
	assert_int_equal(upload_begin(blobs, "u", "site:a", 6, &upload, &error), -1);
	assert_says(error, "complete");
	blobs_close(blobs);
}

static void a_changed_bit_is_found(void **state)
{
	struct blobs *blobs;
	struct draft *draft;
	struct digest digest;
	struct rounds_error error = { 0 };
	char text[DIGEST_TEXT_SIZE], path[300];
	uint64_t size;

	assert_int_equal(blobs_open(*state, &blobs, &error), 0);
	assert_int_equal(draft_new(blobs, &draft, &error), 0);
	assert_int_equal(sink_put(draft_sink(draft), "weights", 7, 0, &error), 0);
	assert_int_equal(draft_adopt(draft, &digest, &size, &error), 0);
	assert_int_equal(size, 7);
	draft_free(draft);
	digest_format(&digest, text);
	snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", (char *)*state, text + 7, text + 9);
	write_file(path, "weighty", 7);
	assert_int_equal(blob_verify(blobs, &digest, &error), -1);
	assert_int_equal(error.kind, ERROR_CHECKSUM);
	blobs_close(blobs);
}

static int keeps(void *context, const struct digest *digest, struct rounds_error *error)
{
	return digest_equal(context, digest);
}

static void drafts_that_nobody_adopts_and_blobs_that_nobody_knows_go(void **state)
{
	struct blobs *blobs;
	struct draft *draft, *other;
	struct digest known, stray;
	struct rounds_error error = { 0 };
	uint64_t size;

	assert_int_equal(blobs_open(*state, &blobs, &error), 0);
	assert_int_equal(draft_new(blobs, &draft, &error), 0);
	assert_int_equal(sink_put(draft_sink(draft), "known", 5, 0, &error), 0);
	assert_int_equal(draft_adopt(draft, &known, &size, &error), 0);
	draft_free(draft);
	assert_int_equal(draft_new(blobs, &draft, &error), 0);
	assert_int_equal(draft_new(blobs, &other, &error), 0);
	assert_int_equal(sink_put(draft_sink(draft), "stray", 5, 0, &error), 0);
	assert_int_equal(draft_adopt(draft, &stray, &size, &error), 0);
	draft_free(draft);
	draft_free(other);
	assert_int_equal(rmdir(in(state, "scratch")), 0);
	assert_int_equal(mkdir(in(state, "scratch"), 0700), 0);
	assert_int_equal(blobs_review(blobs, keeps, &known, &error), 0);
	assert_true(blob_is_there(blobs, &known));
	assert_false(blob_is_there(blobs, &stray));
	blobs_close(blobs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_test_in_directory(a_write_that_fails_undoes_itself_alone),
		unit_test_in_directory(what_was_undone_is_not_said),
		unit_test_in_directory(writers_at_once_share_commits_and_lose_nothing),
		unit_test_in_directory(there_is_one_task_for_a_job_round_and_site),
		unit_test_in_directory(a_newer_database_is_left_untouched),
		unit_test_in_directory(blobs_appear_whole_or_not_at_all),
		unit_test_in_directory(an_idle_upload_keeps_no_descriptor),
		unit_test_in_directory(an_upload_that_is_removed_while_it_is_written_is_gone),
		unit_test_in_directory(after_a_restart_uploads_go_on_and_strays_are_removed),
		unit_test_in_directory(a_changed_bit_is_found),
		unit_test_in_directory(drafts_that_nobody_adopts_and_blobs_that_nobody_knows_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
