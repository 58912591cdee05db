/* Text that is made: always the caller's to free. */
#ifndef ROUNDS_COMMON_TEXT_H
#define ROUNDS_COMMON_TEXT_H

#include "common/scope.h"

/* As printf would print it; NULL without memory. */
must_check char *text_new(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
