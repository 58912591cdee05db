/*
 * What went wrong, in one place.
 *
 * A function that can fail returns 0 or -1 and, on -1, fills the `struct rounds_error` that its caller passed.
 * The server turns it into application/problem+json (RFC 9457), a command into one clear sentence.
 * A message says what is wrong and what would be right; it never holds a secret.
 */
#ifndef ROUNDS_COMMON_ERROR_H
#define ROUNDS_COMMON_ERROR_H

#include "common/scope.h"

#include <stdint.h>

enum error_kind {
	ERROR_NONE,
	ERROR_INVALID,         /* the caller's input is wrong */
	ERROR_UNAUTHENTICATED, /* who are you? */
	ERROR_FORBIDDEN,       /* we know, and you may not */
	ERROR_NOT_FOUND,
	ERROR_METHOD,       /* the path exists, the method does not */
	ERROR_CONFLICT,     /* right in itself, but not in this state */
	ERROR_GONE,         /* it was here and has expired */
	ERROR_PRECONDITION, /* If-Match did not match */
	ERROR_TOO_LARGE,
	ERROR_HEAD_TOO_LARGE, /* of a request: its path and header fields */
	ERROR_MEDIA_TYPE,
	ERROR_CHECKSUM,      /* bytes do not have the digest that was announced */
	ERROR_BLOB_MISSING,  /* names a blob that has not been uploaded, or no longer is there */
	ERROR_UNPROCESSABLE, /* an update that does not fit its model */
	ERROR_TOO_MANY,      /* slow down */
	ERROR_UPGRADE,       /* the other end speaks a protocol version that this one does not */
	ERROR_UNAVAILABLE,   /* try again later */
	ERROR_NO_SPACE,
	ERROR_NO_MEMORY,
	ERROR_IO,
	ERROR_INTERNAL,
	ERROR_KIND_COUNT
};

struct rounds_error {
	enum error_kind kind;
	int retry_seconds; /* when another try makes sense; 0: not known */
	char field[160];   /* the field at fault, as a JSON path such as `params.rounds`; empty if none */
	char message[600];
	/* Where a task's work went wrong, so that it can be told without the message (failure.h). */
	unsigned cause;      /* the kind of failure, plus one; 0: not said */
	int64_t row, column; /* of the dataset's file that `field` names, from 1; 0: not said */
};

/* Fills `error` (which may be NULL) and returns -1, so that a caller can write `return error_set(...)`. */
int error_set(struct rounds_error *error, enum error_kind kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, and names the field at fault. */
int error_field(struct rounds_error *error, const char *field, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* From errno: ENOSPC and EDQUOT are ERROR_NO_SPACE, ENOMEM is ERROR_NO_MEMORY, all else ERROR_IO. */
int error_errno(struct rounds_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

int error_no_memory(struct rounds_error *error);

/* Puts `what: ` before the message that is there; returns -1. */
int error_prefix(struct rounds_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct error_kind_info {
	const char *slug;  /* the last part of the problem's `type`, stable */
	const char *title; /* the problem's `title` */
	int status;        /* HTTP status */
};

/* Never NULL. */
const struct error_kind_info *error_kind_info(enum error_kind kind);

/* The kind with that slug, or ERROR_INTERNAL. */
enum error_kind error_kind_from_slug(const char *slug);

#endif
