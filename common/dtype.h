/*
 * The element types of safetensors, and exact conversion to and from double.
 *
 * Storing rounds to nearest, ties to even (IEEE 754); what is too large for a float type becomes infinite, for an
 * integer type its nearest end. BOOL stores true for 0.5 and above. I64 beyond 2^53 is rounded by the double.
 */
#ifndef ROUNDS_COMMON_DTYPE_H
#define ROUNDS_COMMON_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
	DTYPE_F64,
	DTYPE_F32,
	DTYPE_F16,
	DTYPE_BF16,
	DTYPE_I64,
	DTYPE_I32,
	DTYPE_I16,
	DTYPE_I8,
	DTYPE_U8,
	DTYPE_BOOL,
	DTYPE_COUNT
};

const char *dtype_name(enum dtype dtype);
size_t dtype_size(enum dtype dtype);
bool dtype_is_float(enum dtype dtype);
bool dtype_parse(const char *name, enum dtype *dtype);

/* `count` elements; `bytes` need not be aligned. */
void dtype_load(enum dtype dtype, const void *bytes, size_t count, double *values);
/* The same of a type whose every value is a float: all but F64, I64 and I32. */
void dtype_load_floats(enum dtype dtype, const void *bytes, size_t count, float *values);
void dtype_store(enum dtype dtype, const double *values, size_t count, void *bytes);

#endif
