/*
 * Scopes clean up after themselves.
 *
 *     scoped(file_close) int fd = -1;
 *     scoped(digest_stream_free) struct digest_stream *stream = NULL;
 *
 * A type's own header says which function frees it with DEFINE_CLEANUP, so that an early return cannot leak.
 */
#ifndef ROUNDS_COMMON_SCOPE_H
#define ROUNDS_COMMON_SCOPE_H

#include <stdlib.h>

/* The result must not be ignored. */
#define must_check __attribute__((warn_unused_result))

#define scoped(function) __attribute__((cleanup(function##_cleanup)))

/* Declares how a variable of `type` (a pointer) is freed; `function` must accept NULL. */
#define DEFINE_CLEANUP(type, function)                                                                               \
	static inline void function##_cleanup(type *variable)                                                        \
	{                                                                                                            \
		function(*variable);                                                                                 \
	}                                                                                                            \
	struct cleanup_semicolon_##function

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

DEFINE_CLEANUP(void *, free);

/* scoped(text_free) char *text: frees with free(3). */
static inline void text_free(char *text)
{
	free(text);
}
DEFINE_CLEANUP(char *, text_free);

#endif
