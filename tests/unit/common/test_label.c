/* Names of metrics and stages: any script's words, and nothing that could carry a sentence or change how a page reads. */
#include "tests/unit/test.h"

#include "common/label.h"

static void names_of_any_script_are_labels(void **state)
{
	static const char *const good[] = {
		"dice",
		"validation/dice/left_ventricle",
		"top-5@10(macro)",
		"x.1",
		"Größe",
		"Gro\xcc\x88\xc3\x9f\x65", /* the dots of the o as a mark of their own */
		"\xe5\x87\x86\xe7\xa1\xae\xe7\x8e\x87",
		"\xd8\xaf\xd9\x82\xd8\xa9",
		"\xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa4\xa8\xe0\xa5\x8d\xe0\xa4\xa6\xe0\xa5\x80", /* with a virama */
		"\xe0\xb8\x84\xe0\xb9\x88\xe0\xb8\xb2",                                     /* with a tone */
		"\xd9\xa1\xd9\xa2",                                                         /* digits */
		"\xf0\x9d\x92\xb3",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(label_is_valid(good[i]));
}

static void what_else_there_is_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"two words",
		"tab\there",
		"line\n",
		"a:b",
		"a,b",
		"50%",
		"\"x\"",
		"a\\b",
		"<b>",
		"no\302\240break",
		"em\xe2\x80\x83space",
		"\xe3\x80\x80",
		"\xe3\x80\x82",     /* a full stop of Chinese */
		"\xf0\x9f\x98\x80", /* a face */
		"x\xe2\x80\xae",    /* from right to left */
		"x\xe2\x80\x8b",    /* a space without width */
		"x\xef\xbb\xbf",
		"x\x7f",
		"x\xc2\x85",
		"\xc3\x28",
		"x\xc3",
		"\xed\xa0\x80",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(label_is_valid(bad[i]));
}

static void length_is_counted_in_characters(void **state)
{
	char text[4 * 64 + 1] = "";

	for (int i = 0; i < 63; i++)
		strcat(text, "\xe6\x95\xb0");
	assert_true(label_is_valid(text));
	strcat(text, "x");
	assert_false(label_is_valid(text));
	memset(text, 'a', 64);
	text[64] = '\0';
	assert_false(label_is_valid(text));
	text[63] = '\0';
	assert_true(label_is_valid(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_any_script_are_labels),
		cmocka_unit_test(what_else_there_is_are_none),
		cmocka_unit_test(length_is_counted_in_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
