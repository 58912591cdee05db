#include "tests/unit/test.h"

#include "common/config.h"
#include "common/fields.h"
#include "common/json.h"

static const struct field inner[] = {
	{ "deep", FIELD_INTEGER, "Deep", .fallback = "7", .min = 0, .max = 9 },
	{ NULL },
};

static const struct field fields[] = {
	{ "name", FIELD_NAME, "A name", .required = true },
	{ "count", FIELD_INTEGER, "A count", .fallback = "3", .min = 1, .max = 10 },
	{ "share", FIELD_NUMBER, "A share", .fallback = "0.5", .min = 0, .max = 1, .exclusive = true },
	{ "on", FIELD_BOOL, "A switch", .fallback = "false" },
	{ "mode", FIELD_TEXT, "A mode", .choices = { "fast", "slow" } },
	{ "sites", FIELD_NAMES, "Sites", .fallback = "[]", .min = 0, .max = 3 },
	{ "inner", FIELD_OBJECT, "More", .nested = inner },
	{ NULL },
};

static void a_good_object_gets_its_defaults(void **state)
{
	json_auto_t *given = json_pack("{s:s, s:{}}", "name", "x", "inner"), *faults = json_array();
	json_auto_t *made = fields_apply(fields, given, "", faults);

	assert_non_null(made);
	assert_int_equal(json_integer_or(made, "count", 0), 3);
	assert_int_equal(json_integer_or(json_object_get(made, "inner"), "deep", 0), 7);
	assert_null(json_object_get(made, "mode"));
}

static void all_faults_come_at_once_with_their_paths(void **state)
{
	json_auto_t *given = NULL, *faults = json_array();
	struct rounds_error error = { 0 };
	const char *text = "{\"count\": 11, \"share\": 0, \"on\": 1, \"mode\": \"warp\", \"sites\": [\"a\", \"a\"], "
			   "\"inner\": {\"deep\": \"x\"}, \"colour\": 1}";
	const char *wanted[] = { "colour", "name", "count", "share", "on", "mode", "sites", "inner.deep" };

	assert_int_equal(json_parse(text, strlen(text), &given, &error), 0);
	assert_null(fields_apply(fields, given, "", faults));
	assert_int_equal(json_array_size(faults), ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_string_equal(json_text_or(json_array_get(faults, i), "field", ""), wanted[i]);
	assert_int_equal(fields_error(faults, &error), -1);
	assert_string_equal(error.field, "colour");
	for (size_t i = 1; i < ARRAY_SIZE(wanted); i++)
		assert_says(error, wanted[i]);
	for (size_t i = 0; i < 50; i++)
		fields_fault(faults, "far.away", "must be somewhere else, and not where it is");
	assert_int_equal(fields_error(faults, &error), -1);
	assert_says(error, " more)");
	assert_true(strlen(error.message) < sizeof(error.message) - 1);
}

static const struct field cut_fields[] = {
	{ "depth", FIELD_INTEGER, "How deep", .fallback = "2", .min = 1, .max = 5 },
	{ NULL },
};

static struct variant way(size_t index)
{
	static const struct variant ways[] = { { "saw", cut_fields }, { "tear", NULL }, { "cut", cut_fields } };

	return index < ARRAY_SIZE(ways) ? ways[index] : (struct variant){ 0 };
}

static const struct field common_fields[] = {
	{ "speed", FIELD_INTEGER, "How fast", .fallback = "4", .min = 1, .max = 9 },
	{ "way", FIELD_TEXT, "How", .fallback = "\"tear\"", .variant = way },
	{ NULL },
};

static const struct field joined[] = {
	{ "", FIELD_TABLE, .nested = common_fields },
	{ "thing", FIELD_TEXT, "What", .required = true, .min = 1, .max = 9 },
	{ NULL },
};

static void fields_of_other_tables_stand_beside_its_own(void **state)
{
	json_auto_t *given = json_pack("{s:s}", "thing", "log"), *faults = json_array();
	json_auto_t *made = fields_apply(joined, given, "", faults), *schema = fields_schema(joined), *bad = NULL;
	const json_t *properties = json_object_get(schema, "properties");
	json_auto_t *wanted = json_pack(
		"{s:i, s:s, s:i, s:s}", "speed", 4, "way", "tear", "depth", 2, "thing", "log");
	json_auto_t *choices = json_pack("[s, s, s]", "saw", "tear", "cut");

	assert_true(json_equal(made, wanted));
	assert_int_equal(json_object_size(properties), 4);
	assert_true(json_equal(json_object_get(json_object_get(properties, "way"), "enum"), choices));
	assert_ptr_equal(fields_find(joined, "depth"), cut_fields);
	assert_null(fields_find(joined, ""));

	json_object_set_new(given, "way", json_string("bite"));
	json_object_set_new(given, "depth", json_integer(6));
	assert_null(bad = fields_apply(joined, given, "", faults));
	assert_int_equal(json_array_size(faults), 2); /* a table that two variants share is looked at once */
	assert_string_equal(
		json_text_or(json_array_get(faults, 0), "message", ""), "must be one of \"saw\", \"tear\", \"cut\"");
}

static void a_tables_own_fields_are_picked(void **state)
{
	json_auto_t *given = json_pack("{s:i, s:i}", "speed", 7, "depth", 3), *none = fields_pick(cut_fields, NULL);
	json_auto_t *own = fields_pick(cut_fields, given);

	assert_int_equal(json_object_size(own), 1);
	assert_int_equal(json_integer_or(own, "depth", 0), 3);
	assert_int_equal(json_integer_or(none, "depth", 0), 2);
}

static void names(void **state)
{
	assert_true(name_is_valid("hospital-a.2_x"));
	assert_false(name_is_valid(""));
	assert_false(name_is_valid(".."));
	assert_false(name_is_valid("a/b"));
	assert_false(name_is_valid("caf\xc3\xa9"));
	assert_false(name_is_valid("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

static void json_that_is_refused(void **state)
{
	static const char *const texts[] = { "", "{", "{\"a\":1,\"a\":2}", "{} {}", "nul", "\"\xff\"", "{\"a\":01}" };
	json_t *value;
	struct rounds_error error = { 0 };
	char deep[200];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(json_parse(texts[i], strlen(texts[i]), &value, &error), -1);
	memset(deep, '[', 65);
	memset(deep + 65, ']', 65);
	assert_int_equal(json_parse(deep, 130, &value, &error), -1);
	assert_says(error, "deeper than 64");
	assert_int_equal(json_parse(deep + 1, 128, &value, &error), 0);
	json_decref(value);
	/* Brackets in text do not count. */
	deep[0] = deep[199] = '"';
	memset(deep + 1, '[', 198);
	assert_int_equal(json_parse(deep, 200, &value, &error), 0);
	json_decref(value);
}

static void the_same_value_has_the_same_bytes(void **state)
{
	json_auto_t *a = json_pack("{s:i, s:[f, n]}", "b", 1, "a", 0.1),
		    *b = json_pack("{s:[f, n], s:i}", "a", 0.1, "b", 1);
	scoped(text_free) char *x = json_canonical(a);
	scoped(text_free) char *y = json_canonical(b);

	assert_string_equal(x, y);
	assert_true(x[1] == '"' && x[2] == 'a');
}

static void members_are_named_when_they_are_wrong(void **state)
{
	json_auto_t *object = json_pack("{s:s, s:i, s:s%}", "text", "x", "number", 5, "nul", "a\0b", (size_t)3);
	struct rounds_error error = { 0 };
	const char *text = NULL;
	int64_t number = 0;

	assert_int_equal(json_get_text(object, "text", true, &text, &error), 0);
	assert_int_equal(json_get_text(object, "gone", false, &text, &error), 0);
	assert_string_equal(text, "x");
	assert_int_equal(json_get_text(object, "gone", true, &text, &error), -1);
	assert_string_equal(error.field, "gone");
	assert_int_equal(json_get_text(object, "number", true, &text, &error), -1);
	assert_int_equal(json_get_text(object, "nul", true, &text, &error), -1);
	assert_int_equal(json_get_integer(object, "number", true, 6, 9, &number, &error), -1);
	assert_says(error, "from 6 to 9");
}

static void flags_over_environment_over_file(void **state)
{
	char file_flag[320], *words[] = { "x", file_flag, "--count=5", "--on", "word" };
	json_auto_t *config = NULL, *rest = json_array();
	struct rounds_error error = { 0 };

	write_file(in(state, "f.json"), "{\"name\": \"file\", \"count\": 1, \"share\": 0.25}", 43);
	snprintf(file_flag, sizeof(file_flag), "--config=%s", in(state, "f.json"));
	setenv("ROUNDS_NAME", "environment", 1);
	setenv("ROUNDS_COUNT", "2", 1);
	assert_int_equal(config_read(fields, 5, words, 1, rest, &config, &error), 0);
	unsetenv("ROUNDS_NAME");
	unsetenv("ROUNDS_COUNT");
	assert_string_equal(json_text_or(config, "name", ""), "environment");
	assert_int_equal(json_integer_or(config, "count", 0), 5);
	assert_true(json_bool_or(config, "on", false));
	assert_true(json_number_or(config, "share", 0) == 0.25);
	assert_string_equal(json_string_value(json_array_get(rest, 0)), "word");
}

static void wrong_flags_say_which(void **state)
{
	char *unknown[] = { "x", "--colour", "red" }, *bare[] = { "x", "--count" }, *stray[] = { "x", "word" };
	json_t *config;
	struct rounds_error error = { 0 };

	assert_int_equal(config_read(fields, 3, unknown, 1, NULL, &config, &error), -1);
	assert_says(error, "unknown option --colour");
	assert_int_equal(config_read(fields, 2, bare, 1, NULL, &config, &error), -1);
	assert_says(error, "--count needs a value");
	assert_int_equal(config_read(fields, 2, stray, 1, NULL, &config, &error), -1);
	assert_says(error, "unexpected argument");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_object_gets_its_defaults),
		cmocka_unit_test(all_faults_come_at_once_with_their_paths),
		cmocka_unit_test(fields_of_other_tables_stand_beside_its_own),
		cmocka_unit_test(a_tables_own_fields_are_picked),
		cmocka_unit_test(names),
		cmocka_unit_test(json_that_is_refused),
		cmocka_unit_test(the_same_value_has_the_same_bytes),
		cmocka_unit_test(members_are_named_when_they_are_wrong),
		unit_test_in_directory(flags_over_environment_over_file),
		cmocka_unit_test(wrong_flags_say_which),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
