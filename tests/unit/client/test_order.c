/* Names of the server's that would touch the file system, each of each kind. */
#include "tests/unit/test.h"

#include "client/site/order.h"
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
			assert_string_equal(error.field, members[i]);
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
	static const char *const wrong[] = { "-1", "0.5", "\"1\"", "[]" };

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		for (size_t j = 0; j < ARRAY_SIZE(wrong); j++) {
			json_auto_t *order = good_order();
			struct rounds_error error = { 0 };

			json_object_set_new(order, members[i], json_loads(wrong[j], JSON_DECODE_ANY, NULL));
			assert_int_equal(order_check(order, &error), -1);
			assert_string_equal(error.field, members[i]);
			if (i < 2) /* times are multiplied */
				json_object_set_new(order, members[i], json_integer(ORDER_TIME_LIMIT + 1));
			assert_int_equal(order_check(order, &error), -1);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_right_order_is_taken),
		cmocka_unit_test(no_name_leaves_its_directory),
		cmocka_unit_test(numbers_can_be_meant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
