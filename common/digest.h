/*
 * SHA-256 (FIPS 180-4) names every blob. Written as `sha256:` and 64 hexadecimal digits.
 */
#ifndef ROUNDS_COMMON_DIGEST_H
#define ROUNDS_COMMON_DIGEST_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE      32
#define DIGEST_TEXT_SIZE (7 + 2 * DIGEST_SIZE + 1)

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};

void digest_of(const void *bytes, size_t size, struct digest *digest);
void digest_format(const struct digest *digest, char text[DIGEST_TEXT_SIZE]);
bool digest_parse(const char *text, struct digest *digest);
bool digest_equal(const struct digest *a, const struct digest *b);

/* Of `size` bytes of a file from its beginning, read in blocks that leave no trace in this process's memory. */
must_check int digest_file(int fd, uint64_t size, struct digest *digest, struct rounds_error *error);

/* Bytes that arrive piece by piece. */
struct digest_stream;

/* NULL without memory. */
struct digest_stream *digest_stream_new(void);
void digest_stream_free(struct digest_stream *stream);
void digest_stream_add(struct digest_stream *stream, const void *bytes, size_t size);
/* The digest of all that was added; the stream starts again. */
void digest_stream_finish(struct digest_stream *stream, struct digest *digest);

DEFINE_CLEANUP(struct digest_stream *, digest_stream_free);

#endif
