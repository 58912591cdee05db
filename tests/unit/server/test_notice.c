/* Notices as keys, and back. */
#include "tests/unit/test.h"

#include "server/engine/notice.h"

static void a_notice_says_what_changed(void **state)
{
	char key[NOTICE_SIZE];
	enum topic topic;

	for (int i = 0; i < TOPIC_COUNT; i++) {
		notice_key((enum topic)i, "a:b", key);
		assert_string_equal(notice_read(key, &topic), "a:b");
		assert_int_equal(topic, i);
	}
	assert_string_equal(notice_read("jobs:x", &topic), "");
	assert_int_equal(topic, TOPIC_COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_notice_says_what_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
