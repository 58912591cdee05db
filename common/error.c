#include "common/error.h"

#include "common/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct error_kind_info kinds[ERROR_KIND_COUNT] = {
	[ERROR_NONE] = { "none", "No error", 200 },
	[ERROR_INVALID] = { "invalid", "The request is not valid", 400 },
	[ERROR_UNAUTHENTICATED] = { "unauthenticated", "Credentials are missing or not valid", 401 },
	[ERROR_FORBIDDEN] = { "forbidden", "Not allowed", 403 },
	[ERROR_NOT_FOUND] = { "not-found", "Not found", 404 },
	[ERROR_METHOD] = { "method-not-allowed", "Method not allowed here", 405 },
	[ERROR_CONFLICT] = { "conflict", "Not possible in the present state", 409 },
	[ERROR_GONE] = { "gone", "No longer available", 410 },
	[ERROR_PRECONDITION] = { "precondition-failed", "It has changed since it was read", 412 },
	[ERROR_TOO_LARGE] = { "too-large", "The request is too large", 413 },
	[ERROR_HEAD_TOO_LARGE] = { "head-too-large", "The request's path or header fields are too large", 431 },
	[ERROR_MEDIA_TYPE] = { "media-type", "Content type not supported", 415 },
	[ERROR_CHECKSUM] = { "checksum-mismatch", "Checksum mismatch", 460 },
	[ERROR_BLOB_MISSING] = { "blob-missing", "The blob is not on this server", 424 },
	[ERROR_UNPROCESSABLE] = { "unprocessable", "The update was refused", 422 },
	[ERROR_TOO_MANY] = { "too-many-requests", "Too many requests", 429 },
	[ERROR_UPGRADE] = { "upgrade-required", "Another protocol version is needed", 426 },
	[ERROR_UNAVAILABLE] = { "unavailable", "Not available just now", 503 },
	[ERROR_NO_SPACE] = { "no-space", "No space left", 507 },
	[ERROR_NO_MEMORY] = { "no-memory", "Out of memory", 503 },
	[ERROR_IO] = { "io", "Input or output failed", 500 },
	[ERROR_INTERNAL] = { "internal", "Internal error", 500 },
};

static void message_set(struct rounds_error *error, const char *format, va_list arguments)
{
	text_print_from(error->message, sizeof(error->message), format, arguments);
}

/* What an earlier error has left, but for the texts, of which the new one may be made. */
static void begin(struct rounds_error *error, enum error_kind kind)
{
	error->kind = kind;
	error->retry_seconds = 0;
	error->cause = 0;
	error->row = error->column = 0;
}

int error_set(struct rounds_error *error, enum error_kind kind, const char *format, ...)
{
	va_list arguments;

	if (!error)
		return -1;
	begin(error, kind);
	error->field[0] = '\0';
	va_start(arguments, format);
	message_set(error, format, arguments);
	va_end(arguments);
	return -1;
}

int error_field(struct rounds_error *error, const char *field, const char *format, ...)
{
	va_list arguments;

	if (!error)
		return -1;
	begin(error, ERROR_INVALID);
	text_print(error->field, sizeof(error->field), "%s", field);
	va_start(arguments, format);
	message_set(error, format, arguments);
	va_end(arguments);
	return -1;
}

int error_errno(struct rounds_error *error, const char *format, ...)
{
	int number = errno;
	char what[400];
	va_list arguments;
	enum error_kind kind = ERROR_IO;

	if (number == ENOSPC || number == EDQUOT || number == EFBIG)
		kind = ERROR_NO_SPACE;
	else if (number == ENOMEM)
		kind = ERROR_NO_MEMORY;
	va_start(arguments, format);
	text_print_from(what, sizeof(what), format, arguments);
	va_end(arguments);
	return error_set(error, kind, "%s: %s", what, strerror(number));
}

int error_no_memory(struct rounds_error *error)
{
	return error_set(error, ERROR_NO_MEMORY, "out of memory");
}

int error_prefix(struct rounds_error *error, const char *format, ...)
{
	char what[300], old[sizeof(error->message)];
	va_list arguments;

	if (!error)
		return -1;
	va_start(arguments, format);
	text_print_from(what, sizeof(what), format, arguments);
	va_end(arguments);
	memcpy(old, error->message, sizeof(old));
	text_print(error->message, sizeof(error->message), "%s: %.*s", what, (int)(sizeof(old) - 310), old);
	return -1;
}

const struct error_kind_info *error_kind_info(enum error_kind kind)
{
	if ((unsigned)kind >= ERROR_KIND_COUNT)
		kind = ERROR_INTERNAL;
	return &kinds[kind];
}

enum error_kind error_kind_from_slug(const char *slug)
{
	for (unsigned i = 0; i < ERROR_KIND_COUNT; i++)
		if (slug && !strcmp(kinds[i].slug, slug))
			return (enum error_kind)i;
	return ERROR_INTERNAL;
}
