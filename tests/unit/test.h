/* What every unit test begins with. */
#ifndef ROUNDS_TESTS_UNIT_TEST_H
#define ROUNDS_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/error.h"
#include "common/file.h"

/* A directory of its own for each test; removed afterwards. */
static inline int make_directory(void **state)
{
	char template[] = "/tmp/rounds-unit-XXXXXX";

	*state = strdup(mkdtemp(template));
	return *state ? 0 : -1;
}

static inline int remove_directory(void **state)
{
	directory_remove(*state);
	free(*state);
	return 0;
}

static inline const char *in(void **state, const char *name)
{
	static char paths[8][300];
	static int next;

	next = (next + 1) % 8;
	snprintf(paths[next], sizeof(paths[next]), "%s/%s", (const char *)*state, name);
	return paths[next];
}

static inline void write_file(const char *path, const void *bytes, size_t size)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	fclose(file);
}

#define assert_says(error, text) assert_non_null(strstr((error).message, text))

#define unit_test_in_directory(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

#endif
