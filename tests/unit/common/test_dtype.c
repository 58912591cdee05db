#include "tests/unit/test.h"

#include "common/dtype.h"

#include <math.h>

static double through(enum dtype dtype, double value)
{
	uint8_t bytes[8];
	double back;

	dtype_store(dtype, &value, 1, bytes);
	dtype_load(dtype, bytes, 1, &back);
	return back;
}

static void every_16_bit_float_survives(void **state)
{
	for (int dtype = DTYPE_F16; dtype <= DTYPE_BF16; dtype++) {
		for (uint32_t bits = 0; bits < 65536; bits++) {
			uint16_t in_bits = (uint16_t)bits, out_bits;
			double value;

			dtype_load((enum dtype)dtype, &in_bits, 1, &value);
			dtype_store((enum dtype)dtype, &value, 1, &out_bits);
			if (isnan(value)) {
				double again;

				dtype_load((enum dtype)dtype, &out_bits, 1, &again);
				assert_true(isnan(again));
			} else {
				assert_int_equal(in_bits, out_bits);
			}
		}
	}
}

/* Halfway between two neighbours goes to the even one; just beyond goes on. */
static void ties_go_to_even(void **state)
{
	assert_true(through(DTYPE_F16, 1 + 0x1p-11) == 1);
	assert_true(through(DTYPE_F16, 1 + 0x1p-11 + 0x1p-40) == 1 + 0x1p-10);
	assert_true(through(DTYPE_F16, 1 + 3 * 0x1p-11) == 1 + 0x1p-9);
	assert_true(through(DTYPE_BF16, 1 + 0x1p-8) == 1);
	assert_true(through(DTYPE_BF16, 1 + 3 * 0x1p-8) == 1 + 0x1p-6);
	assert_true(through(DTYPE_F16, 0x1p-25) == 0);
	assert_true(through(DTYPE_F16, 0x1.8p-25) == 0x1p-24);
}

static void what_is_too_large_becomes_infinite(void **state)
{
	assert_true(through(DTYPE_F16, 65504) == 65504);
	assert_true(isinf(through(DTYPE_F16, 65520)));
	assert_true(isinf(through(DTYPE_F32, 1e39)));
	assert_true(through(DTYPE_F16, -1e9) == -INFINITY);
}

static void integers_clamp_and_round_to_nearest(void **state)
{
	assert_true(through(DTYPE_I8, 127.6) == 127);
	assert_true(through(DTYPE_I8, -1000) == -128);
	assert_true(through(DTYPE_U8, -1) == 0);
	assert_true(through(DTYPE_I32, 2.5) == 2);
	assert_true(through(DTYPE_I32, 3.5) == 4);
	assert_true(through(DTYPE_I64, 1e300) > 9.2e18);
	assert_true(through(DTYPE_I16, NAN) == 0);
	assert_true(through(DTYPE_BOOL, 0.5) == 1);
	assert_true(through(DTYPE_BOOL, 0.49) == 0);
}

static void names_and_sizes(void **state)
{
	enum dtype dtype;

	for (int i = 0; i < DTYPE_COUNT; i++) {
		assert_true(dtype_parse(dtype_name((enum dtype)i), &dtype));
		assert_int_equal(dtype, i);
	}
	assert_false(dtype_parse("F8", &dtype));
	assert_int_equal(dtype_size(DTYPE_BF16), 2);
	assert_true(dtype_is_float(DTYPE_F64) && !dtype_is_float(DTYPE_U8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_16_bit_float_survives),
		cmocka_unit_test(ties_go_to_even),
		cmocka_unit_test(what_is_too_large_becomes_infinite),
		cmocka_unit_test(integers_clamp_and_round_to_nearest),
		cmocka_unit_test(names_and_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
