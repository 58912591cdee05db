/*
 * Text that is made, and text that is kept whole: UTF-8 (RFC 3629) from end to end.
 *
 * JSON has no room for bytes that are no character, so one cut name or one Latin-1 cell would make a whole message
 * impossible. Text is therefore repaired where it enters (the doors are errors, rows of the store, headers, arguments, log
 * lines), never where it leaves.
 */
#ifndef ROUNDS_COMMON_TEXT_H
#define ROUNDS_COMMON_TEXT_H

#include "common/scope.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* As printf would print it; NULL without memory. */
must_check char *text_new(const char *format, ...) __attribute__((format(printf, 1, 2)));
must_check char *text_new_from(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

/* For a part of a URL: all but letters, digits and -._~ as %XX (RFC 3986); NULL without memory. */
must_check char *text_percent(const char *text);

/* Whether these bytes are UTF-8: no overlong form, no surrogate, nothing above U+10FFFF. NUL is a character like others. */
bool text_is_utf8(const char *text, size_t size);

/* The longest beginning of at most `limit` bytes that ends between two characters. */
size_t text_cut(const char *text, size_t size, size_t limit);

/* In place: a character that the end cuts is dropped, every other byte that is no UTF-8 becomes '?'. Returns `text`. */
char *text_repair(char *text);

/* A repaired copy, the caller's to free; NULL without memory. */
must_check char *text_new_repaired(const char *text, size_t size);

/*
 * How many bytes must be put in, left out or replaced to make one of the other (Levenshtein 1966), to guess what a mistyped
 * name was meant to be. Only the first 63 bytes of each are looked at.
 */
size_t text_distance(const char *a, const char *b);

/* snprintf for text that people read: what does not fit is cut between characters, what is not UTF-8 is repaired. */
void text_print(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
void text_print_from(char *text, size_t size, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));

#endif
