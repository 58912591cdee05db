/*
 * JSON of a known shape, read where it lies: no tree is made, so that what is read costs memory in proportion to what it says.
 * For headers of weights, which strangers send and which may have a hundred megabytes; all else is read by json.h.
 */
#ifndef ROUNDS_COMMON_SCAN_H
#define ROUNDS_COMMON_SCAN_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scan {
	const char *begin, *at, *end;
	char *room; /* where texts go, each with a NUL behind it: as many bytes as the JSON has are enough for all of them */
};

/* The next character that is no white space, which stays; 0 at the end. */
char scan_peek(struct scan *scan);
/* Whether that character is this one; then it is passed. */
bool scan_take(struct scan *scan, char character);
/* The same where nothing else may stand: the error says where and what came. */
must_check int scan_expect(struct scan *scan, char character, struct rounds_error *error);

/* A text without NUL, in UTF-8; it lives as long as the room. */
must_check int scan_text(struct scan *scan, const char **text, struct rounds_error *error);

/* A whole number from 0 to INT64_MAX; false if what comes is something else. */
bool scan_size(struct scan *scan, uint64_t *number);

/* Fills `error` with what is wrong at this place and returns -1. */
int scan_fail(const struct scan *scan, const char *what, struct rounds_error *error);

#endif
