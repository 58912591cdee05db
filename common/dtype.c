#include "common/dtype.h"

#include <math.h>
#include <string.h>

static const struct {
	const char *name;
	size_t size;
	bool is_float;
} dtypes[DTYPE_COUNT] = {
	[DTYPE_F64] = { "F64", 8, true },
	[DTYPE_F32] = { "F32", 4, true },
	[DTYPE_F16] = { "F16", 2, true },
	[DTYPE_BF16] = { "BF16", 2, true },
	[DTYPE_I64] = { "I64", 8, false },
	[DTYPE_I32] = { "I32", 4, false },
	[DTYPE_I16] = { "I16", 2, false },
	[DTYPE_I8] = { "I8", 1, false },
	[DTYPE_U8] = { "U8", 1, false },
	[DTYPE_BOOL] = { "BOOL", 1, false },
};

const char *dtype_name(enum dtype dtype)
{
	return dtypes[dtype].name;
}

size_t dtype_size(enum dtype dtype)
{
	return dtypes[dtype].size;
}

bool dtype_is_float(enum dtype dtype)
{
	return dtypes[dtype].is_float;
}

bool dtype_parse(const char *name, enum dtype *dtype)
{
	for (int i = 0; i < DTYPE_COUNT; i++) {
		if (!strcmp(dtypes[i].name, name)) {
			*dtype = (enum dtype)i;
			return true;
		}
	}
	return false;
}

static float float_of_bits(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Both widen exactly. A BF16 is the upper half of a float. */
static float widen_bf16(uint16_t half)
{
	return float_of_bits((uint32_t)half << 16);
}

/*
 * The bits of an F16 in a float's place are its value over 2^112, subnormal ones included; only infinity and NaN have
 * an exponent of their own.
 */
static float widen_f16(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = (uint32_t)(half & 0x7fff) << 13;

	if ((half & 0x7c00) == 0x7c00)
		return float_of_bits(sign | 0x7f800000 | rest);
	return float_of_bits(sign | rest) * 0x1p112f;
}

/* The nearest 16-bit float, straight from the double: rounding twice, by way of float, could miss it. */
static uint16_t narrow(double value, int mantissa)
{
	int exponent_bits = 15 - mantissa;
	int bias = (1 << (exponent_bits - 1)) - 1;
	uint16_t infinity = (uint16_t)(((1 << exponent_bits) - 1) << mantissa);
	uint64_t bits, fraction, kept, rest, half;
	uint16_t sign;
	int exponent, shift;

	memcpy(&bits, &value, sizeof(bits));
	sign = (uint16_t)(bits >> 63 << 15);
	if (isnan(value))
		return (uint16_t)(sign | infinity | 1 << (mantissa - 1));
	exponent = (int)(bits >> 52 & 0x7ff) - 1023 + bias;
	fraction = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
	if (exponent >= (1 << exponent_bits) - 1)
		return sign | infinity;
	shift = 52 - mantissa + (exponent < 1 ? 1 - exponent : 0);
	if (shift > 60)
		return sign;
	kept = fraction >> shift;
	rest = fraction & ((UINT64_C(1) << shift) - 1);
	half = UINT64_C(1) << (shift - 1);
	if (rest > half || (rest == half && (kept & 1)))
		kept++; /* may carry into the exponent, which is then right */
	if (exponent > 1)
		kept += (uint64_t)(exponent - 1) << mantissa;
	return (uint16_t)(sign | (uint16_t)kept);
}

static double clamp_round(double value, double low, double high)
{
	if (isnan(value))
		return 0;
	return value <= low ? low : value >= high ? high : nearbyint(value);
}

#define LOAD(type, expression)                                                                                       \
	for (size_t i = 0; i < count; i++) {                                                                         \
		type element;                                                                                        \
		memcpy(&element, (const char *)bytes + i * sizeof(type), sizeof(type));                              \
		values[i] = (expression);                                                                            \
	}                                                                                                            \
	break

void dtype_load(enum dtype dtype, const void *bytes, size_t count, double *values)
{
	switch (dtype) {
	case DTYPE_F64:
		LOAD(double, element);
	case DTYPE_F32:
		LOAD(float, (double)element);
	case DTYPE_F16:
		LOAD(uint16_t, (double)widen_f16(element));
	case DTYPE_BF16:
		LOAD(uint16_t, (double)widen_bf16(element));
	case DTYPE_I64:
		LOAD(int64_t, (double)element);
	case DTYPE_I32:
		LOAD(int32_t, element);
	case DTYPE_I16:
		LOAD(int16_t, element);
	case DTYPE_I8:
		LOAD(int8_t, element);
	case DTYPE_U8:
		LOAD(uint8_t, element);
	case DTYPE_BOOL:
		LOAD(uint8_t, element ? 1.0 : 0.0);
	case DTYPE_COUNT:
		break;
	}
}

void dtype_load_floats(enum dtype dtype, const void *bytes, size_t count, float *values)
{
	switch (dtype) {
	case DTYPE_F32:
		LOAD(float, element);
	case DTYPE_F16:
		LOAD(uint16_t, widen_f16(element));
	case DTYPE_BF16:
		LOAD(uint16_t, widen_bf16(element));
	case DTYPE_I16:
		LOAD(int16_t, element);
	case DTYPE_I8:
		LOAD(int8_t, element);
	case DTYPE_U8:
		LOAD(uint8_t, element);
	case DTYPE_BOOL:
		LOAD(uint8_t, element ? 1.0F : 0.0F);
	case DTYPE_F64:
	case DTYPE_I64:
	case DTYPE_I32:
	case DTYPE_COUNT:
		break;
	}
}

#define STORE(type, expression)                                                                                      \
	for (size_t i = 0; i < count; i++) {                                                                         \
		double value = values[i];                                                                            \
		type element = (type)(expression);                                                                   \
		memcpy((char *)bytes + i * sizeof(type), &element, sizeof(type));                                    \
	}                                                                                                            \
	break

void dtype_store(enum dtype dtype, const double *values, size_t count, void *bytes)
{
	switch (dtype) {
	case DTYPE_F64:
		STORE(double, value);
	case DTYPE_F32:
		STORE(float, value);
	case DTYPE_F16:
		STORE(uint16_t, narrow(value, 10));
	case DTYPE_BF16:
		STORE(uint16_t, narrow(value, 7));
	case DTYPE_I64: /* the greatest double below 2^63 */
		STORE(int64_t, clamp_round(value, -0x1p63, 0x1.fffffffffffffp62));
	case DTYPE_I32:
		STORE(int32_t, clamp_round(value, INT32_MIN, INT32_MAX));
	case DTYPE_I16:
		STORE(int16_t, clamp_round(value, INT16_MIN, INT16_MAX));
	case DTYPE_I8:
		STORE(int8_t, clamp_round(value, INT8_MIN, INT8_MAX));
	case DTYPE_U8:
		STORE(uint8_t, clamp_round(value, 0, UINT8_MAX));
	case DTYPE_BOOL:
		STORE(uint8_t, value >= 0.5);
	case DTYPE_COUNT:
		break;
	}
}
