/*
 * HKDF with SHA-256 (RFC 5869), its two steps apart, as HPKE and the envelopes need them. What is hashed is given in parts, so
 * that labels and values need not be copied together.
 */
#ifndef ROUNDS_COMMON_SEAL_KDF_H
#define ROUNDS_COMMON_SEAL_KDF_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

#define KDF_SIZE 32 /* of a pseudorandom key, and the most that one expansion gives */

/* Bytes that lie elsewhere. */
struct span {
	const void *bytes;
	size_t size;
};

/* The bytes of a text, without its NUL. */
struct span span_of(const char *text);

/* key = HKDF-Extract(salt, parts one behind the other). */
must_check int kdf_extract(
	struct span salt, const struct span *parts, size_t count, uint8_t key[KDF_SIZE], struct rounds_error *error);

/* HKDF-Expand(key, parts one behind the other, size); of at most KDF_SIZE bytes, so one block is all there is to it. */
must_check int kdf_expand(const uint8_t key[KDF_SIZE], const struct span *parts, size_t count, uint8_t *out,
	size_t size, struct rounds_error *error);

#endif
