/*
 * Tensors in 8 bits: each block of 64 elements, in the order of the bytes, is 64 whole numbers from -127 to 127 and one scale.
 * An element is number x scale. Block-wise scales by the greatest absolute value: Dettmers et al., 8-bit Optimizers via
 * Block-wise Quantization, ICLR 2022, section 2; numbers and scales as tensors beside one another, as compressed-tensors keeps
 * them in safetensors files (https://github.com/vllm-project/compressed-tensors).
 *
 * In a file, the tensor NAME of F32 with n elements is
 *
 *     NAME          I8, its shape       the numbers
 *     NAME:scales   F32, [(n + 63)/64]  the scales, finite
 *
 * which is 17/64 of its bytes. Tensors without scales are what they are. "rounds.encoding" in the metadata says that this is so:
 *
 *     w = numbers.astype(float32).reshape(-1) * numpy.repeat(scales, 64)[:n]
 */
#ifndef ROUNDS_COMMON_QUANTISED_H
#define ROUNDS_COMMON_QUANTISED_H

#include <stddef.h>
#include <stdint.h>

#define ENCODING_KEY       "rounds.encoding"
#define QUANTISED_ENCODING "int8_blocks"
#define QUANTISED_BLOCK    64
#define QUANTISED_SCALES   ":scales"

/* Elements `from` to `from + count` of a tensor; `numbers` and `scales` (little-endian F32, not aligned) are all it has. */
void quantised_load(const int8_t *numbers, const uint8_t *scales, uint64_t from, size_t count, float *values);

#endif
