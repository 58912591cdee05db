#include "tests/unit/test.h"

#include "common/tensors.h"

/* A file with this header and so many bytes behind it. */
static size_t build(uint8_t *bytes, const char *header, size_t data)
{
	size_t length = strlen(header);

	memset(bytes, 0, 8 + length + data);
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
	memcpy(bytes + 8, header, length);
	return 8 + length + data;
}

static void refused(const char *header, size_t data, const char *words)
{
	uint8_t bytes[4096];
	size_t size = build(bytes, header, data);
	struct tensors *tensors = NULL;
	struct rounds_error error = { 0 };

	assert_int_equal(tensors_parse(bytes, size, size, &tensors, &error), -1);
	assert_int_equal(error.kind, ERROR_UNPROCESSABLE);
	if (!strstr(error.message, words))
		fail_msg("\"%s\" does not say \"%s\"", error.message, words);
}

#define T(name, rest) "{\"" name "\":{\"dtype\":\"F32\"," rest "}}"

static void every_rule_refuses_by_name(void **state)
{
	refused("{}x", 0, "end of file expected");
	refused("[]", 0, "does not begin with {");
	refused("{\"a\":1}", 0, "and nothing else");
	refused(T("a", "\"shape\":[1],\"data_offsets\":[0,4],\"more\":1"), 4, "and nothing else");
	refused("{\"a\":{\"dtype\":\"F8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "\"dtype\" is not one of");
	refused(T("a", "\"shape\":1,\"data_offsets\":[0,4]"), 4, "array of at most 32");
	refused(T("a", "\"shape\":[-1],\"data_offsets\":[0,4]"), 4, "not a size");
	refused(T("a", "\"shape\":[1.5],\"data_offsets\":[0,4]"), 4, "not a size");
	refused(T("a", "\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]"), 4, "too large");
	refused(T("a", "\"shape\":[4611686018427387904],\"data_offsets\":[0,4]"), 4, "not that of its shape");
	refused(T("a", "\"shape\":[1],\"data_offsets\":[4,0]"), 4, "outside the file");
	refused(T("a", "\"shape\":[1],\"data_offsets\":[0,8]"), 4, "outside the file");
	refused(T("a", "\"shape\":[2],\"data_offsets\":[0,4]"), 4, "not that of its shape and dtype");
	refused(T("a", "\"shape\":[1],\"data_offsets\":[0]"), 4, "two offsets");
	refused(T("a", "\"shape\":[1],\"data_offsets\":[4,8]"), 8, "a gap before");
	refused(T("a", "\"shape\":[1],\"data_offsets\":[0,4]"), 5, "behind the last tensor");
	refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
		"\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
		3, "overlap");
	refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
		"\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
		2, "duplicate");
	refused("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
		"unable to decode byte 0xff");
	refused("{\"__metadata__\":{\"a\":1}}", 0, "text to text");
	refused("{\"__metadata__\":[]}", 0, "must be an object");
}

static void lengths_that_lie(void **state)
{
	uint8_t bytes[64] = { 0 };
	struct tensors *tensors;
	struct rounds_error error = { 0 };

	assert_int_equal(tensors_parse(bytes, 7, 7, &tensors, &error), -1);
	assert_says(error, "fewer than 8 bytes");
	bytes[0] = 57;
	assert_int_equal(tensors_parse(bytes, 64, 64, &tensors, &error), -1);
	assert_says(error, "longer than the file");
	memset(bytes, 0xff, 8);
	assert_int_equal(tensors_parse(bytes, 64, 64, &tensors, &error), -1);
	assert_says(error, "larger than 100 MB");
	memset(bytes, 0, 8);
	assert_int_equal(tensors_parse(bytes, 64, 64, &tensors, &error), -1);
	assert_says(error, "does not begin");
}

static void what_the_writer_writes_the_reader_reads(void **state)
{
	const uint64_t matrix[] = { 2, 3 }, empty[] = { 0 };
	const struct tensor_plan plan[] = { { "z", DTYPE_F32, 2, matrix }, { "a", DTYPE_I64, 0, NULL },
		{ "none", DTYPE_U8, 1, empty } };
	uint8_t *header, file[1024] = { 0 };
	size_t size;
	struct tensors *tensors;
	struct rounds_error error = { 0 };

	assert_int_equal(tensors_header(plan, 3, NULL, &header, &size, &error), 0);
	assert_int_equal(size % 8, 0);
	memcpy(file, header, size);
	free(header);
	assert_int_equal(tensors_parse(file, size + 32, size + 32, &tensors, &error), 0);
	assert_int_equal(tensors->count, 3);
	assert_int_equal(tensors_find(tensors, "z")->offset, size);
	assert_int_equal(tensors_find(tensors, "z")->count, 6);
	assert_int_equal(tensors_find(tensors, "a")->offset, size + 24);
	assert_int_equal(tensors_find(tensors, "a")->rank, 0);
	assert_null(tensors_find(tensors, "b"));
	tensors_free(tensors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_rule_refuses_by_name),
		cmocka_unit_test(lengths_that_lie),
		cmocka_unit_test(what_the_writer_writes_the_reader_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
