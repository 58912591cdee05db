/*
 * The files of a task, and those that its result brings: {name: {"digest": "sha256:...", "size": bytes}}. A name says what a
 * file is for: "model", "update", a message to somebody. Whoever takes such an object from outside checks it once; everybody
 * else finds files in it by their names, and passes on what it does not know.
 */
#ifndef ROUNDS_COMMON_ARTIFACT_H
#define ROUNDS_COMMON_ARTIFACT_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { ARTIFACTS_MOST = 1024, ARTIFACT_FIELD_SIZE = 160 };

/* Text is borrowed from the object that it was found in. */
struct artifact {
	const char *name, *digest;
	int64_t size; /* bytes; -1: not told */
};

/* 1 to 63 of a-z, 0-9, `_`, `.` and `-`, beginning with a letter or digit: it may become the name of a file. */
bool artifact_name_is_valid(const char *name);

/* ERROR_INVALID, with the member at fault below `field` ("files.update.digest"), for what is not such an object. */
must_check int artifacts_check(const json_t *files, const char *field, struct rounds_error *error);

/* False if there is no file of that name. */
bool artifact_find(const json_t *files, const char *name, struct artifact *artifact);
/* Its digest as text, or NULL. */
const char *artifact_digest(const json_t *files, const char *name);
/* Whether one of the files is this one, whatever it is called. */
bool artifacts_name(const json_t *files, const char *digest);
/* Adds a file: 0, or -1 without memory. */
must_check int artifact_put(json_t *files, const struct artifact *artifact);

#endif
