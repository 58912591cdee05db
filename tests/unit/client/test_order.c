/* Names of the server's that would touch the file system, each of each kind. */
#include "tests/unit/test.h"

#include "client/site/order.h"
#include "common/artifact.h"
#include "common/json.h"

#define DIGEST "sha256:0123456789012345678901234567890123456789012345678901234567890123"

static json_t *good_order(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:n, s:i, s:i, s:i, s:i, s:i}", "id",
		"01890a5d-ac96-774b-bcce-b302099a8057", "job", "01890a5d-ac96-774b-bcce-b302099a8058", "kind",
		"train", "dataset", "wdbc", "executor", "trainer", "model", DIGEST, "control", "model_size", 10,
		"round", 1, "rounds", 2, "lease_seconds", 60, "timeout_seconds", 0);
}

static void a_right_order_is_taken(void **state)
{
	json_auto_t *order = good_order();
	struct rounds_error error = { 0 };

	assert_int_equal(order_check(order, &error), 0);
	json_object_set_new(order, "model", json_null());
	json_object_del(order, "dataset");
	json_object_set_new(order, "of a later version", json_integer(1));
	assert_int_equal(order_check(order, &error), 0);
	assert_int_equal(order_check(NULL, &error), -1);
}

static void no_name_leaves_its_directory(void **state)
{
	static const char *const members[] = { "id", "job", "kind", "dataset", "executor", "model", "control" };
	static const char *const named[] = { "id", "job", "kind", "dataset", "executor", "files.model.digest",
		"files.control.digest" };
	static const char *const wrong[] = { "\"../../../victim\"", "\"/etc\"", "\"..\"", "\".\"", "\"\"",
		"\".hidden\"", "\"a/b\"", "\"a\\\\b\"", "\"-rf\"", "\"a b\"", "\"\\u00e4\"", "\"a\\nb\"", "7",
		"[\"a\"]", "{}", "true", "\"" DIGEST "/..\"",
		"\"sha256:../../67890123456789012345678901234567890123456789012345678901234\"",
		"\"0123456789012345678901234567890123456789012345678901234567890123\"" };

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		for (size_t j = 0; j < ARRAY_SIZE(wrong); j++) {
			json_auto_t *order = good_order();
			struct rounds_error error = { 0 };

			json_object_set_new(order, members[i], json_loads(wrong[j], JSON_DECODE_ANY, NULL));
			assert_int_equal(order_check(order, &error), -1);
			assert_string_equal(error.field, named[i]);
		}
	for (size_t i = 0; i < 3; i++) {
		json_auto_t *order = good_order();
		struct rounds_error error = { 0 };

		json_object_set_new(order, members[i], json_stringn("good\0/../evil", 13));
		assert_int_equal(order_check(order, &error), -1);
		json_object_del(order, members[i]);
		assert_int_equal(order_check(order, &error), -1);
	}
}

static void numbers_can_be_meant(void **state)
{
	static const char *const members[] = { "lease_seconds", "timeout_seconds", "model_size", "round", "rounds" };
	static const char *const named[] = { "lease_seconds", "timeout_seconds", "files.model.size", "round",
		"rounds" };
	static const char *const wrong[] = { "-1", "0.5", "\"1\"", "[]" };

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		for (size_t j = 0; j < ARRAY_SIZE(wrong); j++) {
			json_auto_t *order = good_order();
			struct rounds_error error = { 0 };

			json_object_set_new(order, members[i], json_loads(wrong[j], JSON_DECODE_ANY, NULL));
			assert_int_equal(order_check(order, &error), -1);
			assert_string_equal(error.field, named[i]);
			if (i < 2) /* times are multiplied */
				json_object_set_new(order, members[i], json_integer(ORDER_TIME_LIMIT + 1));
			assert_int_equal(order_check(order, &error), -1);
		}
}

static json_t *with_files(json_t *files)
{
	json_t *order = good_order();

	json_object_del(order, "model");
	json_object_del(order, "control");
	json_object_del(order, "model_size");
	json_object_set_new(order, "files", files);
	return order;
}

static void an_older_order_has_its_files_by_name(void **state)
{
	json_auto_t *order = good_order();
	struct rounds_error error = { 0 };
	struct artifact file;

	json_object_set_new(order, "control", json_string(DIGEST));
	json_object_set_new(order, "model_data", json_string("AAAA"));
	assert_int_equal(order_check(order, &error), 0);
	assert_true(artifact_find(json_object_get(order, "files"), "model", &file));
	assert_string_equal(file.digest, DIGEST);
	assert_int_equal(file.size, 10);
	assert_string_equal(
		json_text_or(json_object_get(json_object_get(order, "files"), "model"), "data", ""), "AAAA");
	assert_true(artifact_find(json_object_get(order, "files"), "control", &file) && file.size == -1);
	assert_int_equal(json_object_size(json_object_get(order, "files")), 2);
}

static void files_are_names_digests_and_sizes(void **state)
{
	static const char *const wrong[] = { "[]", "7", "{\"../model\": {\"digest\": \"" DIGEST "\"}}",
		"{\"\": {\"digest\": \"" DIGEST "\"}}", "{\".x\": {\"digest\": \"" DIGEST "\"}}",
		"{\"Model\": {\"digest\": \"" DIGEST "\"}}", "{\"a b\": {\"digest\": \"" DIGEST "\"}}",
		"{\"model\": \"" DIGEST "\"}", "{\"model\": {}}", "{\"model\": {\"digest\": \"md5:1\"}}",
		"{\"model\": {\"digest\": \"" DIGEST "\\u0000x\"}}",
		"{\"model\": {\"digest\": \"" DIGEST "\", \"size\": -1}}",
		"{\"model\": {\"digest\": \"" DIGEST "\", \"size\": 0.5}}" };
	json_auto_t *right = with_files(json_pack("{s:{s:s, s:i}, s:{s:s, s:i, s:s}}", "model", "digest", DIGEST,
		"size", 10, "share.hospital-a_2", "digest", DIGEST, "size", 3, "data", "AAAA"));
	json_auto_t *many = with_files(json_object());
	struct rounds_error error = { 0 };
	char name[20];

	assert_int_equal(order_check(right, &error), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		json_auto_t *order = with_files(json_loads(wrong[i], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));

		assert_int_equal(order_check(order, &error), -1);
		assert_memory_equal(error.field, "files", 5);
	}
	for (int i = 0; i <= ARTIFACTS_MOST; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(order_check(many, &error), 0);
		json_object_set_new(json_object_get(many, "files"), name, json_pack("{s:s}", "digest", DIGEST));
	}
	assert_int_equal(order_check(many, &error), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_right_order_is_taken),
		cmocka_unit_test(no_name_leaves_its_directory),
		cmocka_unit_test(numbers_can_be_meant),
		cmocka_unit_test(an_older_order_has_its_files_by_name),
		cmocka_unit_test(files_are_names_digests_and_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
