#include "tests/unit/test.h"

#include "common/tensors.h"

#include <malloc.h>

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
	refused("{}x", 0, "behind the header's end");
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
	refused("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "not UTF-8");
	refused("{\"__metadata__\":{\"a\":1}}", 0, "text to text");
	refused("{\"__metadata__\":[]}", 0, "must be an object");
	refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate");
	refused("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "duplicate");
	refused("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
		"and nothing else");
	refused(T("a", "\"shape\":[01],\"data_offsets\":[0,4]"), 4, "not a size");
	refused(T("a", "\"shape\":[9223372036854775808],\"data_offsets\":[0,4]"), 4, "not a size");
	refused(T("a", "\"shape\":[1 1],\"data_offsets\":[0,4]"), 4, "',' expected");
	refused(T("a", "\"shape\":[1,],\"data_offsets\":[0,4]"), 4, "not a size");
	refused(T("a", "\"shape\":[1]"), 4, "and nothing else");
	refused("{\"a", 0, "does not end");
	refused("{\"a\\", 0, "invalid escape");
	refused("{\"\\u0000\":1}", 0, "invalid escape");
	refused("{\"\\ud800\":1}", 0, "invalid escape");
	refused("{\"\\ud800\\u0041\":1}", 0, "invalid escape");
	refused("{\"\\x\":1}", 0, "invalid escape");
	refused("{\"a\nb\":1}", 0, "control character");
	refused("{", 0, "expected");
	refused("{\"a\":{", 0, "expected");
	refused("{,}", 0, "expected");
}

static void names_are_any_text(void **state)
{
	uint8_t bytes[1000];
	size_t size = build(bytes,
		"{  \"\\ud83d\\ude00 \\u00e9\\u20ac\\n{,\" : {\"data_offsets\" : [0,2] , \"shape\":[ 2 ], \"dtype\":\"U8\"} ,"
		" \"__metadata__\":{\"a\":\"b\",\"c\":\"\"}, \"\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[2,3]}} \n",
		3);
	struct tensors *tensors;
	struct rounds_error error;

	assert_int_equal(tensors_parse(bytes, size, size, &tensors, &error), 0);
	assert_int_equal(tensors->count, 2);
	assert_non_null(tensors_find(tensors, "\U0001F600 \u00e9\u20ac\n{,"));
	assert_int_equal(tensors_find(tensors, "")->rank, 0);
	assert_string_equal(json_string_value(json_object_get(tensors->metadata, "a")), "b");
	tensors_free(tensors);
}

/* The most that a header can ask for: names of no length, ranks of 32, tensors without bytes. */
static void a_header_costs_a_few_times_its_size(void **state)
{
	enum { COUNT = 100000 };
	char *header = malloc(COUNT * 160 + 16), *to = header;
	uint8_t *bytes = malloc(COUNT * 160 + 24);
	struct mallinfo2 before, after;
	struct tensors *tensors;
	struct rounds_error error = { 0 };
	size_t size;

	to += sprintf(to, "{");
	for (int i = 0; i < COUNT; i++) {
		to += sprintf(to, "%s\"%x\":{\"dtype\":\"U8\",\"shape\":[0", i ? "," : "", (unsigned)i);
		for (int j = 0; j < 31; j++)
			to += sprintf(to, ",1");
		to += sprintf(to, "],\"data_offsets\":[0,0]}");
	}
	to += sprintf(to, "}");
	size = build(bytes, header, 0);
	before = mallinfo2();
	assert_int_equal(tensors_parse(bytes, size, size, &tensors, &error), 0);
	after = mallinfo2();
	assert_int_equal(tensors->count, COUNT);
	assert_true(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd < 5 * size);
	tensors_free(tensors);
	free(header);
	free(bytes);
}

static void a_header_far_larger_than_its_tensors_is_refused(void **state)
{
	size_t length = TENSORS_HEADER_FREE + 3, size = 8 + length + 1;
	uint8_t *bytes = malloc(size);
	struct tensors *tensors;
	struct rounds_error error = { 0 };

	memset(bytes, ' ', size);
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
	bytes[8] = '{';
	assert_int_equal(tensors_header_length(bytes, size), length);
	assert_int_equal(tensors_parse(bytes, size, size, &tensors, &error), -1);
	assert_says(error, "far larger than its tensors");
	free(bytes);
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
		cmocka_unit_test(names_are_any_text),
		cmocka_unit_test(a_header_costs_a_few_times_its_size),
		cmocka_unit_test(a_header_far_larger_than_its_tensors_is_refused),
		cmocka_unit_test(lengths_that_lie),
		cmocka_unit_test(what_the_writer_writes_the_reader_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
