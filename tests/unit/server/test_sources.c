/* What inputs of an aggregation give, beside plain loops; and sums of words. */
#include "tests/unit/test.h"

#include "common/json.h"
#include "common/quantised.h"
#include "server/aggregate/aggregate.h"
#include "server/aggregate/source.h"

#include <math.h>

enum { LARGE = 600001, INPUTS = 9 };

/* A file in memory. */
struct made {
	uint8_t *bytes;
	size_t size;
};

static struct view view_of(const struct made *made)
{
	return (struct view){ made->bytes, made->size, NULL, NULL };
}

static struct made make_file(const struct tensor_plan *plan, size_t count, const json_t *metadata)
{
	struct made made = { 0 };
	struct rounds_error error;
	uint8_t *header;
	size_t size;

	assert_int_equal(tensors_header(plan, count, metadata, &header, &size, &error), 0);
	made.size = size;
	for (size_t i = 0; i < count; i++) {
		size_t elements = 1;

		for (size_t j = 0; j < plan[i].rank; j++)
			elements *= plan[i].shape[j];
		made.size += elements * dtype_size(plan[i].dtype);
	}
	made.bytes = calloc(1, made.size);
	memcpy(made.bytes, header, size);
	free(header);
	return made;
}

static uint8_t *place(const struct made *made, const char *name)
{
	scoped(tensors_free) struct tensors *tensors = NULL;
	struct rounds_error error;

	assert_int_equal(tensors_parse(made->bytes, made->size, made->size, &tensors, &error), 0);
	assert_non_null(tensors_find(tensors, name));
	return made->bytes + tensors_find(tensors, name)->offset;
}

static uint64_t next(uint64_t *random)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *random >> 16;
}

static double draw(uint64_t *random)
{
	return (double)(next(random) % 2000001) / 1e6 - 1;
}

/* The encoder of these tests: to the nearest, by the greatest absolute value of each block. */
static void quantise(const float *values, size_t count, int8_t *numbers, float *scales)
{
	for (size_t at = 0; at < count; at += QUANTISED_BLOCK) {
		size_t some = count - at < QUANTISED_BLOCK ? count - at : QUANTISED_BLOCK;
		float most = 0;

		for (size_t i = 0; i < some; i++)
			most = fmaxf(most, fabsf(values[at + i]));
		scales[at / QUANTISED_BLOCK] = most / 127;
		for (size_t i = 0; i < some; i++)
			numbers[at + i] = (int8_t)(most > 0 ? lrintf(values[at + i] / (most / 127)) : 0);
	}
}

static size_t blocks_of(size_t count)
{
	return (count + QUANTISED_BLOCK - 1) / QUANTISED_BLOCK;
}

/* The same tensors twice, encoded and as the encoding gives them: "w" and "v" of floats, "b" of BF16, "k" of I64. */
static void make_both(uint64_t seed, struct made *encoded, struct made *plain)
{
	const uint64_t large[] = { LARGE }, rows[] = { 3, 43 }, few[] = { 700 };
	const uint64_t large_scales[] = { blocks_of(LARGE) }, row_scales[] = { blocks_of(129) };
	const struct tensor_plan meant[] = { { "w", DTYPE_F32, 1, large }, { "v", DTYPE_F32, 2, rows },
		{ "b", DTYPE_BF16, 1, few }, { "k", DTYPE_I64, 1, few } };
	const struct tensor_plan held[] = { { "w", DTYPE_I8, 1, large }, { "v:scales", DTYPE_F32, 1, row_scales },
		{ "v", DTYPE_I8, 2, rows }, { "b", DTYPE_BF16, 1, few }, { "k", DTYPE_I64, 1, few },
		{ "w:scales", DTYPE_F32, 1, large_scales } };
	json_auto_t *metadata = json_pack("{s:s}", ENCODING_KEY, QUANTISED_ENCODING);
	static const char *const names[] = { "w", "v" };
	uint64_t random = seed;

	*encoded = make_file(held, ARRAY_SIZE(held), metadata);
	*plain = make_file(meant, ARRAY_SIZE(meant), NULL);
	for (size_t t = 0; t < ARRAY_SIZE(names); t++) {
		size_t count = t == 0 ? LARGE : 129;
		float *values = malloc(count * sizeof(float)), *scales = malloc(blocks_of(count) * sizeof(float));
		int8_t *numbers = malloc(count);
		char name[20];

		for (size_t i = 0; i < count; i++)
			values[i] = (float)draw(&random);
		quantise(values, count, numbers, scales);
		for (size_t i = 0; i < count; i++)
			values[i] = (float)numbers[i] * scales[i / QUANTISED_BLOCK];
		snprintf(name, sizeof(name), "%s%s", names[t], QUANTISED_SCALES);
		memcpy(place(encoded, names[t]), numbers, count);
		memcpy(place(encoded, name), scales, blocks_of(count) * sizeof(float));
		memcpy(place(plain, names[t]), values, count * sizeof(float));
		free(values);
		free(scales);
		free(numbers);
	}
	for (size_t i = 0; i < 700; i++) {
		double value = draw(&random);
		int64_t key = (int64_t)next(&random) - (INT64_C(1) << 40);

		dtype_store(DTYPE_BF16, &value, 1, place(plain, "b") + i * 2);
		memcpy(place(plain, "k") + i * 8, &key, 8);
	}
	memcpy(place(encoded, "b"), place(plain, "b"), 700 * 2);
	memcpy(place(encoded, "k"), place(plain, "k"), 700 * 8);
}

static int put(void *context, const void *bytes, size_t size, uint64_t at, struct rounds_error *error)
{
	const struct made *out = context;

	assert_true(at + size <= out->size);
	memcpy(out->bytes + at, bytes, size);
	return 0;
}

static void aggregate_into(struct made *out, const struct aggregate_order *order)
{
	struct sink sink = { put, out };
	struct rounds_error error = { 0 };

	memset(out->bytes, 0, out->size);
	if (aggregate(order, &sink, &error))
		fail_msg("%s", error.message);
}

static void quantised_inputs_are_as_good_as_what_they_mean(void **state)
{
	static const char *const names[] = { "weighted_mean", "sum", "median", "bulyan", "norm_clipping" };
	struct aggregate_input encoded[INPUTS] = { 0 }, plain[INPUTS] = { 0 };
	struct made files[INPUTS + 1][2], wanted, made;
	struct view model;
	json_auto_t *none = json_object();

	for (size_t i = 0; i <= INPUTS; i++)
		make_both(i + 1, &files[i][0], &files[i][1]);
	for (size_t i = 0; i < INPUTS; i++) {
		encoded[i] = (struct aggregate_input){
			.view = view_of(&files[i][0]), .encoding = &encoding_quantised, .weight = 1.0 + (double)i
		};
		plain[i] = (struct aggregate_input){ .view = view_of(&files[i][1]), .weight = 1.0 + (double)i };
	}
	model = view_of(&files[INPUTS][1]);
	made = wanted = files[0][1];
	made.bytes = malloc(made.size);
	wanted.bytes = malloc(wanted.size);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct outlier outliers[INPUTS], others[INPUTS];
		struct aggregate_order order = { .aggregator = aggregator_find(names[i]),
			.metadata = none,
			.model = &model,
			.inputs = plain,
			.count = INPUTS,
			.threads = 1,
			.outliers = outliers };

		aggregate_into(&wanted, &order);
		order.inputs = encoded;
		order.outliers = others;
		for (order.threads = 1; order.threads <= 3; order.threads++) {
			aggregate_into(&made, &order);
			assert_memory_equal(made.bytes, wanted.bytes, wanted.size);
		}
		for (size_t j = 0; j < INPUTS; j++)
			assert_true(fabs(others[j].distance - outliers[j].distance) < 1e-9 * outliers[j].distance);
	}
	free(made.bytes);
	free(wanted.bytes);
	for (size_t i = 0; i <= INPUTS; i++) {
		free(files[i][0].bytes);
		free(files[i][1].bytes);
	}
}

static void any_stretch_of_a_quantised_tensor_is_a_plain_loop(void **state)
{
	enum { COUNT = 1000 };
	float scales[16], values[COUNT];
	int8_t numbers[COUNT];
	uint64_t random = 5;

	for (size_t i = 0; i < COUNT; i++)
		numbers[i] = (int8_t)next(&random);
	for (size_t i = 0; i < ARRAY_SIZE(scales); i++)
		scales[i] = (float)draw(&random);
	for (int i = 0; i < 3000; i++) {
		size_t from = next(&random) % COUNT, count = next(&random) % (COUNT - from + 1);

		memset(values, 0x55, sizeof(values));
		quantised_load(numbers, (const uint8_t *)scales, from, count, values);
		for (size_t j = 0; j < count; j++)
			assert_true(values[j] == (float)numbers[from + j] * scales[(from + j) / QUANTISED_BLOCK]);
		for (size_t j = count; j < COUNT; j++)
			assert_int_equal(((const uint32_t *)(const void *)values)[j], 0x55555555);
	}
}

/* Types that are widened, of so many sites that a block takes several chunks: each element's sum in double, rounded once. */
static void narrow_types_are_added_in_double(void **state)
{
	enum { SITES = 301, COUNT = 1500 };
	static const enum dtype dtypes[] = { DTYPE_BF16, DTYPE_F16, DTYPE_I16, DTYPE_I8, DTYPE_U8, DTYPE_BOOL };
	const uint64_t shape[] = { COUNT };

	for (size_t d = 0; d < ARRAY_SIZE(dtypes); d++) {
		const struct tensor_plan plan = { "x", dtypes[d], 1, shape };
		size_t width = dtype_size(dtypes[d]);
		struct aggregate_input inputs[SITES] = { 0 };
		struct made files[SITES];
		double sums[COUNT] = { 0 }, values[COUNT];
		long double weights = 0;
		uint8_t output[COUNT * 2], wanted[COUNT * 2];
		uint64_t random = 3;
		struct aggregate_order order = {
			.aggregator = aggregator_find("weighted_mean"), .inputs = inputs, .count = SITES, .threads = 2
		};
		struct rounds_error error = { 0 };

		for (size_t i = 0; i < SITES; i++) {
			files[i] = make_file(&plan, 1, NULL);
			inputs[i] = (struct aggregate_input){ .view = view_of(&files[i]),
				.weight = 1 + (double)(i % 7) };
			weights += (long double)inputs[i].weight;
			for (size_t j = 0; j < COUNT; j++)
				values[j] = draw(&random) * 100;
			dtype_store(dtypes[d], values, COUNT, place(&files[i], "x"));
		}
		for (size_t i = 0; i < SITES; i++) {
			dtype_load(dtypes[d], place(&files[i], "x"), COUNT, values);
			for (size_t j = 0; j < COUNT; j++)
				sums[j] += (double)((long double)inputs[i].weight / weights) * values[j];
		}
		dtype_store(dtypes[d], sums, COUNT, wanted);
		assert_int_equal(aggregate_to_memory(&order, output, &error), 0);
		assert_memory_equal(output, wanted, COUNT * width);
		for (size_t i = 0; i < SITES; i++)
			free(files[i].bytes);
	}
}

static void files_that_are_not_so_encoded_are_refused(void **state)
{
	const uint64_t count[] = { 100 }, two[] = { 2 }, three[] = { 3 }, row[] = { 1, 2 };
	static const char word[] = "is not in 8-bit blocks: it must be I8, with 2 scales of F32";
	const struct {
		struct tensor_plan plan[2];
		const char *encoding, *says;
	} cases[] = {
		{ { { "w", DTYPE_I8, 1, count }, { "w:scales", DTYPE_F32, 1, three } }, QUANTISED_ENCODING, word },
		{ { { "w", DTYPE_I8, 1, count }, { "w:scales", DTYPE_F32, 2, row } }, QUANTISED_ENCODING, word },
		{ { { "w", DTYPE_I8, 1, count }, { "w:scales", DTYPE_F16, 1, two } }, QUANTISED_ENCODING, word },
		{ { { "w", DTYPE_U8, 1, count }, { "w:scales", DTYPE_F32, 1, two } }, QUANTISED_ENCODING, word },
		{ { { "w", DTYPE_I8, 1, count }, { "v:scales", DTYPE_F32, 1, two } }, QUANTISED_ENCODING,
			"there are scales of a tensor that is not there" },
		{ { { "w", DTYPE_I8, 1, count }, { "w:scales", DTYPE_F32, 1, two } }, "int4_blocks",
			"the file does not say that it is encoded as \"int8_blocks\"" },
		{ { { "w", DTYPE_I8, 1, count }, { "w:scales", DTYPE_F32, 1, two } }, NULL,
			"the file does not say that it is encoded as \"int8_blocks\"" },
		{ { { "w", DTYPE_I8, 1, count }, { "w:scales", DTYPE_F32, 1, two } }, QUANTISED_ENCODING, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *metadata = cases[i].encoding ? json_pack("{s:s}", ENCODING_KEY, cases[i].encoding)
							  : NULL;
		struct made made = make_file(cases[i].plan, 2, metadata);
		scoped(source_close) struct source source = { 0 };
		struct view view = view_of(&made);
		struct rounds_error error = { 0 };
		int failed = source_open(&view, &encoding_quantised, &source, &error);

		assert_int_equal(failed, cases[i].says ? -1 : 0);
		if (failed) {
			assert_int_equal(error.kind, ERROR_UNPROCESSABLE);
			assert_says(error, cases[i].says);
		} else {
			assert_int_equal(source.tensors->count, 1);
			assert_int_equal(source.tensors->list[0].dtype, DTYPE_F32);
		}
		free(made.bytes);
	}
}

/* Modulo 2^32 and 2^64, the same in any order and with any number of threads. */
static void sums_of_words_wrap(void **state)
{
	const uint64_t large[] = { LARGE };
	const struct tensor_plan plan[] = { { "a", DTYPE_I32, 1, large }, { "b", DTYPE_I64, 1, large } };
	struct aggregate_input inputs[INPUTS] = { 0 };
	struct made files[INPUTS], wanted = make_file(plan, 2, NULL), made = wanted;
	struct aggregate_order order = {
		.aggregator = aggregator_find("modular_sum"), .inputs = inputs, .count = INPUTS
	};
	uint64_t random = 11;
	uint32_t *narrow = calloc(LARGE, sizeof(*narrow)), *a = calloc(LARGE, sizeof(*a));
	uint64_t *wide = calloc(LARGE, sizeof(*wide)), *b = calloc(LARGE, sizeof(*b));

	made.bytes = malloc(made.size);
	for (size_t i = 0; i < INPUTS; i++) {
		for (size_t j = 0; j < LARGE; j++) {
			narrow[j] += a[j] = (uint32_t)next(&random);
			wide[j] += b[j] = next(&random) << 20 ^ next(&random);
		}
		files[i] = make_file(plan, 2, NULL);
		memcpy(place(&files[i], "a"), a, LARGE * sizeof(*a));
		memcpy(place(&files[i], "b"), b, LARGE * sizeof(*b)); /* not aligned */
		inputs[i] = (struct aggregate_input){ .view = view_of(&files[i]), .weight = 3 };
	}
	memcpy(place(&wanted, "a"), narrow, LARGE * sizeof(*narrow));
	memcpy(place(&wanted, "b"), wide, LARGE * sizeof(*wide));
	for (order.threads = 1; order.threads <= 4; order.threads++) {
		aggregate_into(&made, &order);
		assert_memory_equal(made.bytes, wanted.bytes, wanted.size);
		for (size_t i = 0; i < INPUTS - 1; i++) {
			size_t other = i + next(&random) % (INPUTS - i);
			struct aggregate_input kept = inputs[i];

			inputs[i] = inputs[other];
			inputs[other] = kept;
		}
	}
	for (size_t i = 0; i < INPUTS; i++)
		free(files[i].bytes);
	free(wanted.bytes);
	free(made.bytes);
	free(narrow);
	free(wide);
	free(a);
	free(b);
}

static void only_words_are_summed_as_words(void **state)
{
	const uint64_t few[] = { 3 };
	const struct tensor_plan plan[] = { { "a", DTYPE_I32, 1, few }, { "x", DTYPE_F32, 1, few } };
	struct made file = make_file(plan, 2, NULL);
	struct aggregate_input input = { .view = view_of(&file), .weight = 1 };
	struct aggregate_order order = {
		.aggregator = aggregator_find("modular_sum"), .inputs = &input, .count = 1, .threads = 1
	};
	struct rounds_error error = { 0 };
	uint8_t output[24];

	assert_int_equal(aggregate_to_memory(&order, output, &error), -1);
	assert_int_equal(error.kind, ERROR_UNPROCESSABLE);
	assert_string_equal(error.field, "x");
	assert_says(error, "tensor \"x\" is F32; words are summed of I32 and I64 alone");
	free(file.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantised_inputs_are_as_good_as_what_they_mean),
		cmocka_unit_test(any_stretch_of_a_quantised_tensor_is_a_plain_loop),
		cmocka_unit_test(narrow_types_are_added_in_double),
		cmocka_unit_test(files_that_are_not_so_encoded_are_refused),
		cmocka_unit_test(sums_of_words_wrap),
		cmocka_unit_test(only_words_are_summed_as_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
