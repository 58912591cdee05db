/* Text is whole UTF-8 wherever it has passed a door. */
#include "tests/unit/test.h"

#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <string.h>
#include <unistd.h>

/* The well-formed byte sequences of the Unicode standard, table 3-7, at their edges. */
static void utf8_is_recognized(void **state)
{
	static const char *const good[] = { "", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
		"\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "x\xe2\x82\xacy" };
	static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80",
		"\xe2\x82", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "caf\xe9 " };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(text_is_utf8(good[i], strlen(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(text_is_utf8(bad[i], strlen(bad[i])));
}

static void text_is_cut_between_characters(void **state)
{
	const char *text = "ab\xe2\x82\xac\xf0\x9f\x98\x80z"; /* 2, 3, 4 and 1 bytes */
	static const size_t ends[] = { 0, 1, 2, 2, 2, 5, 5, 5, 5, 9, 10, 10 };
	char small[8];

	for (size_t limit = 0; limit < ARRAY_SIZE(ends); limit++)
		assert_int_equal(text_cut(text, strlen(text), limit), ends[limit]);
	text_print(small, sizeof(small), "%s", text);
	assert_string_equal(small, "ab\xe2\x82\xac");
	assert_int_equal(text_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 2); /* no text: cut somewhere, never outside */
}

static void text_is_repaired(void **state)
{
	static const char *const pairs[][2] = { { "caf\xe9 noir", "caf? noir" }, { "cut \xe2\x82", "cut " },
		{ "cut \xf0\x9f\x98", "cut " }, { "\xc0\x80", "??" }, { "\xed\xa0\x80", "???" },
		{ "whole \xe2\x82\xac", "whole \xe2\x82\xac" }, { "\xe9", "" } };

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		scoped(text_free) char *made = text_new_repaired(pairs[i][0], strlen(pairs[i][0]));
		json_auto_t *value = json_text(pairs[i][0]);

		assert_string_equal(made, pairs[i][1]);
		assert_string_equal(json_string_value(value), pairs[i][1]);
	}
}

/* A message that is cut in the middle of a character would make the whole problem impossible to send. */
static void errors_are_text(void **state)
{
	struct rounds_error error = { 0 };
	char long_text[2000] = "";

	for (size_t shift = 0; shift < 3; shift++) {
		memset(long_text, 'a', shift);
		for (size_t at = shift; at + 3 < sizeof(long_text); at += 3)
			memcpy(long_text + at, "\xe2\x82\xac", 4);
		error_field(&error, long_text, "%s", long_text);
		assert_true(text_is_utf8(error.field, strlen(error.field)) && strlen(error.field) > 150);
		assert_true(text_is_utf8(error.message, strlen(error.message)) && strlen(error.message) > 590);
		error_prefix(&error, "%s", long_text);
		assert_true(text_is_utf8(error.message, strlen(error.message)));
		error_set(&error, ERROR_INVALID, "the cell \"%s\"", "M\xfcller");
		assert_string_equal(error.message, "the cell \"M?ller\"");
	}
}

/* What a log line of these two texts is, read back through a pipe. */
static size_t line_of(const char *key, const char *value, char *line, size_t size)
{
	int ends[2], kept = dup(STDERR_FILENO);
	ssize_t got;

	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	log_info("m", key, value, "last", "one", NULL);
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(ends[1]);
	got = read(ends[0], line, size);
	close(ends[0]);
	return got > 0 ? (size_t)got : 0;
}

static void log_lines_stay_json(void **state)
{
	char value[6001], line[5000];
	struct rounds_error error;

	log_setup(LOG_INFO, true);
	for (size_t length = 3900; length < 6000; length += length < 4100 ? 1 : 500)
		for (const char *fill = "x\"\x01\xe9"; *fill; fill++) {
			json_auto_t *said = NULL;

			memset(value, *fill, length);
			value[length] = '\0';
			assert_int_equal(
				json_parse(line, line_of("key", value, line, sizeof(line)), &said, &error), 0);
			assert_true(strlen(json_text_or(said, "key", "")) > 600);
		}
	log_setup(LOG_INFO, false);
}

static void distance_counts_edits(void **state)
{
	assert_int_equal(text_distance("wdbc", "wdbc"), 0);
	assert_int_equal(text_distance("wdcb", "wdbc"), 2);
	assert_int_equal(text_distance("kitten", "sitting"), 3);
	assert_int_equal(text_distance("", "abc"), 3);
	assert_int_equal(text_distance("abc", ""), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf8_is_recognized),
		cmocka_unit_test(text_is_cut_between_characters),
		cmocka_unit_test(text_is_repaired),
		cmocka_unit_test(distance_counts_edits),
		cmocka_unit_test(errors_are_text),
		cmocka_unit_test(log_lines_stay_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
