/* Text that is made: always the caller's to free. */
#ifndef ROUNDS_COMMON_TEXT_H
#define ROUNDS_COMMON_TEXT_H

#include "common/scope.h"

#include <stdarg.h>

/* As printf would print it; NULL without memory. */
must_check char *text_new(const char *format, ...) __attribute__((format(printf, 1, 2)));
must_check char *text_new_from(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

/* For a part of a URL: all but letters, digits and -._~ as %XX (RFC 3986); NULL without memory. */
must_check char *text_percent(const char *text);

#endif
