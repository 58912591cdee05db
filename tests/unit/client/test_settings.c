/* What site.json leaves out is filled in before anything is started by it. */
#include "tests/unit/test.h"

#include "client/site/settings.h"
#include "common/json.h"

#include <unistd.h>

static void a_relative_state_directory_is_rooted(void **state)
{
	static const char *const given[] = { "state", "./a/b", "/already/there" };
	scoped(text_free) char *here = getcwd(NULL, 0);
	struct rounds_error error = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		json_auto_t *settings = json_pack(
			"{s:s, s:{}, s:{}}", "state_dir", given[i], "executors", "datasets");
		char wanted[5000];

		snprintf(wanted, sizeof(wanted), "%s%s%s", given[i][0] == '/' ? "" : here,
			given[i][0] == '/' ? "" : "/", given[i]);
		assert_int_equal(settings_complete(settings, &error), 0);
		assert_string_equal(json_text_or(settings, "state_dir", ""), wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_relative_state_directory_is_rooted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
