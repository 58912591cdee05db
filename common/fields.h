/*
 * What an object may hold, as a table. One table serves the check (every fault at once, each with its path and
 * what would be right), the defaults, the JSON Schema (2020-12), the help texts and, later, the form.
 *
 *     static const struct field fields[] = {
 *         { "rounds", FIELD_INTEGER, "How many rounds", .fallback = "10", .min = 1, .max = 1e6 },
 *         { NULL },
 *     };
 */
#ifndef ROUNDS_COMMON_FIELDS_H
#define ROUNDS_COMMON_FIELDS_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

enum field_type {
	FIELD_BOOL,
	FIELD_INTEGER, /* min..max */
	FIELD_NUMBER,  /* min..max, finite; above min itself if `exclusive` */
	FIELD_TEXT,    /* min..max characters; one of `choices` if there are any */
	FIELD_NAME,    /* text of letters, digits, `.`, `_`, `-`; 1 to 63 characters; begins with a letter or digit */
	FIELD_NAMES,   /* an array of different names, min..max of them */
	FIELD_DIGEST,  /* sha256:... */
	FIELD_TEXTS,   /* an array of text, min..max of them */
	FIELD_OBJECT,  /* checked with `nested`; free if that is NULL */
	FIELD_MAP,     /* an object whose every value is an object checked with `nested` */
	FIELD_TABLE,   /* no field: those of `nested` stand here, beside the others */
};

#define FIELD_CHOICES 12

/* One of several ways to do something. Its own fields stand beside the field that names the way. */
struct variant {
	const char *name;
	const struct field *fields; /* NULL: none; several variants may share a table */
};

struct field {
	const char *name; /* NULL ends the table */
	enum field_type type;
	const char *help;     /* one sentence; units in it */
	const char *fallback; /* the default as JSON; NULL: none */
	bool required;
	bool exclusive;
	double min, max;
	const char *choices[FIELD_CHOICES];
	const struct field *nested;
	/* Of text: the choices come from a table elsewhere, by index from 0; one without a name is behind the last. */
	struct variant (*variant)(size_t index);
};

/* True for what FIELD_NAME accepts. */
bool name_is_valid(const char *name);

/*
 * A copy of `value` with defaults filled in, as a new reference; NULL if there are faults, of which each is
 * appended to `faults` (a JSON array) as {"field": "params.rounds", "message": "must be ..."}. `path` is put
 * before every name ("" at the top).
 */
json_t *fields_apply(const struct field *fields, const json_t *value, const char *path, json_t *faults);

/* Appends a fault by hand, for rules that look at more than one field. */
void fields_fault(json_t *faults, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Turns the faults into an error: its field is the first one's, its message says all that there is room for. Returns -1. */
int fields_error(const json_t *faults, struct rounds_error *error);

/* What an object that was checked before says of a table's own fields, or else their defaults: a new reference. */
json_t *fields_pick(const struct field *fields, const json_t *value);

/* A JSON Schema for the table: a new reference. */
json_t *fields_schema(const struct field *fields);

const struct field *fields_find(const struct field *fields, const char *name);

#endif
