/*
 * JSON (RFC 8259) through jansson, with limits for what comes from outside and errors that name the field.
 * References follow jansson's rules; `json_get_*` lend text that lives as long as the object.
 */
#ifndef ROUNDS_COMMON_JSON_H
#define ROUNDS_COMMON_JSON_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A new reference. Duplicate names, text after the value and nesting deeper than 64 are errors. */
must_check int json_parse(const char *text, size_t size, json_t **value, struct rounds_error *error);

/* The same from a file of at most 16 MiB; the error names the file. */
must_check int json_parse_file(const char *path, json_t **value, struct rounds_error *error);

/* Compact, keys sorted: the same value gives the same bytes. NULL without memory; the caller frees. */
char *json_canonical(const json_t *value);

/* A required or optional member of an object; a missing optional one leaves *out as it was. */
must_check int json_get_text(
	const json_t *object, const char *key, bool required, const char **out, struct rounds_error *error);
must_check int json_get_integer(const json_t *object, const char *key, bool required, int64_t min, int64_t max,
	int64_t *out, struct rounds_error *error);
must_check int json_get_bool(
	const json_t *object, const char *key, bool required, bool *out, struct rounds_error *error);
must_check int json_get_number(
	const json_t *object, const char *key, bool required, double *out, struct rounds_error *error);

/*
 * Text of any bytes as JSON text, repaired (common/text.h): what json_string() would refuse without a word. A new reference;
 * NULL without memory.
 */
json_t *json_text(const char *text);
json_t *json_text_n(const char *text, size_t size);

/*
 * jansson's json_pack(), but a failure is said in the log with its place: what it makes is often handed on unlooked at, and a
 * message that silently is none is the worst kind. Text must be UTF-8 by then; whatever may not be goes in by json_text().
 */
json_t *json_pack_or_say(const char *file, int line, const char *format, ...);
#undef json_pack
#define json_pack(...) json_pack_or_say(__FILE__, __LINE__, __VA_ARGS__)

/*
 * How often this thread had no memory for JSON. A value of many parts is seldom looked at piece by piece while it is made: whoever
 * cannot use one that lacks some compares this before and after.
 */
unsigned long json_shortages(void);

/* ERROR_INVALID with the name of a member that is not among `names`, a NULL-terminated list: a typing error is no default. */
must_check int json_only(const json_t *object, const char *const *names, struct rounds_error *error);

/* What is known to be well-formed (our own rows, a checked spec): the value or the fallback. */
const char *json_text_or(const json_t *object, const char *key, const char *fallback);
int64_t json_integer_or(const json_t *object, const char *key, int64_t fallback);
double json_number_or(const json_t *object, const char *key, double fallback);
bool json_bool_or(const json_t *object, const char *key, bool fallback);

/* Whether an array holds this text; anything but an array holds nothing. */
bool json_lists(const json_t *array, const char *text);

/* {text: true} for each text in the array, where many are looked up: a new reference. */
json_t *json_set_of(const json_t *array);

/* A number, or null where JSON has none (NaN, infinities). A new reference. */
json_t *json_number_or_null(double value);

#endif
