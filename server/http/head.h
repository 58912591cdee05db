/* The head of a request, checked: what of it decides where the request ends. */
#ifndef ROUNDS_SERVER_HTTP_HEAD_H
#define ROUNDS_SERVER_HTTP_HEAD_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct head {
	bool chunked;
	uint64_t length; /* of the body, where it is not chunked */
};

/*
 * `text` is everything to the last CRLF before the empty line, that included, with each line ended by CRLF and no other
 * CR, LF or NUL in it: the caller has looked. ERROR_INVALID, or ERROR_HEAD_TOO_LARGE for too many of something.
 */
must_check int head_read(const char *text, size_t size, struct head *head, struct rounds_error *error);

#endif
