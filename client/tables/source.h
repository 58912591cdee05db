/*
 * The bytes of a table as UTF-8, whatever they are on the disk: gzip is unpacked (zlib), a byte order mark is obeyed and left
 * out, UTF-16 without one is known by its NULs, all else is what the administrator says, or UTF-8. Nothing is guessed: bytes
 * that are no text in that encoding are an error, since a wrong guess would change what columns and categories are called.
 *
 * Memory does not grow with the file.
 */
#ifndef ROUNDS_CLIENT_TABLES_SOURCE_H
#define ROUNDS_CLIENT_TABLES_SOURCE_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

struct source;

/* `encoding` is a name that iconv knows; NULL: not said. Errors do not name the file. */
must_check int source_open(
	const char *path, const char *encoding, struct source **source, struct rounds_error *error);
void source_free(struct source *source);
DEFINE_CLEANUP(struct source *, source_free);

/*
 * At most `size` (8 or more) bytes of whole characters, none of them NUL; *got is 0 at the end. What stands before bytes that
 * cannot be read is given first, so that who reads knows where they are: the next call fails, with the cause
 * FAILURE_ENCODING.
 */
must_check int source_read(struct source *source, char *text, size_t size, size_t *got, struct rounds_error *error);

/* For people: what the bytes turned out to be. */
const char *source_encoding(const struct source *source);
bool source_is_packed(const struct source *source);

#endif
