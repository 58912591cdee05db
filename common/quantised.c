#include "common/quantised.h"

#include <string.h>

static float scale_at(const uint8_t *scales, uint64_t block)
{
	float scale;

	memcpy(&scale, scales + block * sizeof(scale), sizeof(scale));
	return scale;
}

/* Whole blocks; each of the variants below gives the same bits. */
__attribute__((always_inline)) static inline void load_blocks(
	const int8_t *numbers, const uint8_t *scales, size_t blocks, float *values)
{
	for (size_t block = 0; block < blocks; block++) {
		const int8_t *from = numbers + block * QUANTISED_BLOCK;
		float *to = values + block * QUANTISED_BLOCK, scale = scale_at(scales, block);

		for (int i = 0; i < QUANTISED_BLOCK; i++)
			to[i] = (float)from[i] * scale;
	}
}

static void load_plain(const int8_t *numbers, const uint8_t *scales, size_t blocks, float *values)
{
	load_blocks(numbers, scales, blocks, values);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void load_avx2(
	const int8_t *numbers, const uint8_t *scales, size_t blocks, float *values)
{
	load_blocks(numbers, scales, blocks, values);
}

__attribute__((target("avx512f,avx512bw"))) static void load_avx512(
	const int8_t *numbers, const uint8_t *scales, size_t blocks, float *values)
{
	load_blocks(numbers, scales, blocks, values);
}
#endif

static void load_whole(const int8_t *numbers, const uint8_t *scales, size_t blocks, float *values)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx512bw")) {
		load_avx512(numbers, scales, blocks, values);
		return;
	}
	if (__builtin_cpu_supports("avx2")) {
		load_avx2(numbers, scales, blocks, values);
		return;
	}
#endif
	load_plain(numbers, scales, blocks, values);
}

void quantised_load(const int8_t *numbers, const uint8_t *scales, uint64_t from, size_t count, float *values)
{
	uint64_t end = from + count, first = (from + QUANTISED_BLOCK - 1) / QUANTISED_BLOCK;
	uint64_t whole = end / QUANTISED_BLOCK > first ? end / QUANTISED_BLOCK - first : 0;

	for (uint64_t at = from; at < end; at++) {
		if (at == first * QUANTISED_BLOCK && whole) {
			load_whole(numbers + at, scales + first * sizeof(float), (size_t)whole, values + (at - from));
			at += whole * QUANTISED_BLOCK;
			if (at >= end)
				return;
		}
		values[at - from] = (float)numbers[at] * scale_at(scales, at / QUANTISED_BLOCK);
	}
}
