/* What a site keeps on its own disk. */
#include "tests/unit/test.h"

#include "client/site/cache.h"
#include "client/site/spool.h"
#include "common/artifact.h"
#include "common/json.h"

#include <fcntl.h>
#include <sys/stat.h>

#define WEIGHTS "sha256:9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"

static void results_survive_and_come_oldest_first(void **state)
{
	struct spool *spool;
	struct rounds_error error = { 0 };

	assert_int_equal(spool_open(in(state, "spool"), &spool, &error), 0);
	write_file(in(state, "update"), "weights", 7);
	json_auto_t *late = json_pack("{s:s, s:{s:{s:s}}}", "task", "0002", "files", "update", "digest", WEIGHTS),
		    *early = json_pack("{s:s, s:{}}", "task", "0001", "files");
	json_auto_t *paths = json_pack("{s:s}", "update", in(state, "update")),
		    *gone = json_pack("{s:s}", "update", in(state, "gone"));
	assert_int_equal(spool_put(spool, late, paths, &error), 0);
	assert_int_equal(spool_put(spool, early, NULL, &error), 0);
	assert_int_equal(spool_put(spool, early, gone, &error), -1);
	spool_free(spool);

	assert_int_equal(spool_open(in(state, "spool"), &spool, &error), 0);
	json_auto_t *list = spool_list(spool);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_text_or(json_array_get(list, 0), "task", ""), "0001");
	scoped(text_free) char *path = spool_file_path(spool, "0002", "update");
	assert_int_equal(access(path, F_OK), 0);
	assert_true(spool_check(spool, json_array_get(list, 0)) && spool_check(spool, json_array_get(list, 1)));
	write_file(path, "weightz", 7); /* as after a loss of power */
	assert_false(spool_check(spool, json_array_get(list, 1)));
	assert_null(spool_find(spool, "0003"));
	write_file(in(state, "spool/0009.json"), "{half", 5); /* a torn entry is passed over, and said */
	json_auto_t *again = spool_list(spool);
	assert_int_equal(json_array_size(again), 2);
	spool_remove(spool, "0002");
	assert_int_equal(access(path, F_OK), -1);
	spool_free(spool);
}

/* Several files of one result, whatever they are called; and none that is called by a path. */
static void a_result_may_bring_several_files(void **state)
{
	struct spool *spool;
	struct rounds_error error = { 0 };
	json_auto_t *entry = json_pack("{s:s, s:{s:{s:s}, s:{s:s}}}", "task", "0001", "files", "new.json", "digest",
			    WEIGHTS, "json", "digest", WEIGHTS),
		    *paths = json_pack("{s:s, s:s}", "new.json", in(state, "a"), "json", in(state, "b"));

	assert_int_equal(spool_open(in(state, "spool"), &spool, &error), 0);
	write_file(in(state, "a"), "weights", 7);
	write_file(in(state, "b"), "weights", 7);
	assert_int_equal(spool_put(spool, entry, paths, &error), 0);
	json_auto_t *list = spool_list(spool), *hostile = json_deep_copy(entry);
	assert_int_equal(json_array_size(list), 1);
	assert_true(spool_check(spool, json_array_get(list, 0)));
	json_object_set_new(json_object_get(hostile, "files"), "../0001.json", json_pack("{s:s}", "digest", WEIGHTS));
	assert_false(spool_check(spool, hostile));
	write_file(in(state, "spool/0001.files/json"), "weightz", 7);
	assert_false(spool_check(spool, json_array_get(list, 0)));
	spool_remove(spool, "0001");
	assert_int_equal(access(in(state, "spool/0001.files"), F_OK), -1);
	spool_free(spool);
}

/* The first release kept one update, beside its entry. */
static void what_an_earlier_version_kept_is_taken_over(void **state)
{
	static const char left[] = "{\"task\":\"0001\",\"kind\":\"train\",\"update\":\"" WEIGHTS "\",\"weight\":3}";
	static const char bare[] = "{\"task\":\"0002\",\"kind\":\"evaluate\",\"weight\":3}";
	struct spool *spool;
	struct rounds_error error = { 0 };
	struct artifact file;

	assert_int_equal(spool_open(in(state, "spool"), &spool, &error), 0);
	write_file(in(state, "spool/0001.json"), left, strlen(left));
	write_file(in(state, "spool/0001.safetensors"), "weights", 7);
	write_file(in(state, "spool/0002.json"), bare, strlen(bare));
	for (int again = 0; again < 2; again++) {
		json_auto_t *list = spool_list(spool);
		const json_t *files = json_object_get(json_array_get(list, 0), "files");

		assert_int_equal(json_array_size(list), 2);
		assert_true(artifact_find(files, "update", &file) && file.size == 7);
		assert_true(spool_check(spool, json_array_get(list, 0)));
		assert_int_equal(json_object_size(json_object_get(json_array_get(list, 1), "files")), 0);
	}
	spool_remove(spool, "0001");
	spool_remove(spool, "0002");
	json_auto_t *none = spool_list(spool);
	assert_int_equal(json_array_size(none), 0);
	spool_free(spool);
}

static void the_oldest_models_leave_first(void **state)
{
	const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	const struct timespec older[2] = { { .tv_sec = 10 }, { .tv_sec = 10 } };
	json_auto_t *in_use = json_pack("[s, s]", "sha256:new", "sha256:half");

	write_file(in(state, "old"), "12345", 5);
	write_file(in(state, "older"), "12345", 5);
	write_file(in(state, "new"), "12345", 5);
	write_file(in(state, "half.part"), "12", 2);
	write_file(in(state, "given-up.part"), "12", 2);
	utimensat(AT_FDCWD, in(state, "old"), old, 0);
	utimensat(AT_FDCWD, in(state, "older"), older, 0);
	assert_int_equal(cache_trim(*state, 14, in_use), 14);
	assert_int_equal(access(in(state, "older"), F_OK), -1);
	assert_int_equal(access(in(state, "old"), F_OK), 0);
	assert_int_equal(cache_trim(*state, 0, in_use), 7);
	assert_int_equal(access(in(state, "old"), F_OK), -1);
	assert_int_equal(access(in(state, "given-up.part"), F_OK), -1);
	assert_int_equal(access(in(state, "new"), F_OK), 0);
	assert_int_equal(access(in(state, "half.part"), F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_test_in_directory(results_survive_and_come_oldest_first),
		unit_test_in_directory(a_result_may_bring_several_files),
		unit_test_in_directory(what_an_earlier_version_kept_is_taken_over),
		unit_test_in_directory(the_oldest_models_leave_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
