/*
 * Why a task came to nothing, in words that hold nothing of a site's data.
 *
 * A failure is a kind and a place: which file, row and column of the dataset, or which tensor. The sentence for people is
 * made from those, here and nowhere else. What the program said in its own words stays in the site's log, where `ref`
 * finds it; `text` carries those words only where the site's administrator said so (`share_log`).
 *
 *     {"kind": "cell", "role": "path", "row": 18, "column": 3, "ref": "4f1c09ab", "retry": false}
 */
#ifndef ROUNDS_COMMON_FAILURE_H
#define ROUNDS_COMMON_FAILURE_H

#include "common/error.h"
#include "common/fields.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum failure_kind {
	/* the dataset */
	FAILURE_CELL,
	FAILURE_HEADER,
	FAILURE_COLUMN,
	FAILURE_ENCODING,
	FAILURE_LABEL,
	FAILURE_CATEGORY,
	FAILURE_DATASET,
	FAILURE_SCHEMA,
	FAILURE_TOO_FEW,
	/* the program */
	FAILURE_EXECUTOR,
	FAILURE_EXIT,
	FAILURE_SIGNAL,
	FAILURE_TIMEOUT,
	FAILURE_OUTPUT,
	FAILURE_PROGRAM,
	FAILURE_UNSUPPORTED,
	/* what it made */
	FAILURE_NO_UPDATE,
	FAILURE_TENSOR,
	FAILURE_NOT_FINITE,
	FAILURE_WEIGHT,
	FAILURE_METRIC,
	FAILURE_RESULT_REFUSED,
	/* what it was given, and the machine */
	FAILURE_MODEL,
	FAILURE_DOWNLOAD,
	FAILURE_NO_SPACE,
	FAILURE_NO_MEMORY,
	FAILURE_PARAMS,
	FAILURE_POLICY,
	FAILURE_INTERNAL,
	FAILURE_KIND_COUNT
};

#define FAILURE_TENSOR_SIZE   201
#define FAILURE_REF_SIZE      33
#define FAILURE_TEXT_SIZE     1001 /* of `text`, NUL included; `failure_set_text` cuts */
#define FAILURE_SENTENCE_SIZE 800  /* of a sentence with its place and reference, without `text` */

struct failure {
	enum failure_kind kind;
	bool retry;          /* another try may succeed */
	int64_t row, column; /* 1-based; the header is row 1; 0: not told */
	char role
		[64]; /* which of the dataset's files: the member of site.json that names it; of FAILURE_PARAMS: which
			  parameter; empty: not told */
	char tensor[FAILURE_TENSOR_SIZE]; /* empty: not told */
	char ref[FAILURE_REF_SIZE];       /* finds the program's own words in the site's log; empty: there are none */
	char text[FAILURE_TEXT_SIZE];     /* the program's own words, where they may be told; empty: they may not */
};

/* The kind's name in JSON; never NULL. */
const char *failure_name(enum failure_kind kind);
/* False, and *kind as it was, for a name that no kind has; NULL is none. */
bool failure_parse(const char *name, enum failure_kind *kind);

/*
 * From what another program said: each member checked for type and bounds, unknown ones refused; the error names the
 * field. Members that are null count as absent. `*failure` is complete or untouched.
 */
must_check int failure_read(const json_t *value, struct failure *failure, struct rounds_error *error);

/* A new reference, without what is not told; NULL without memory. */
json_t *failure_json(const struct failure *failure);

/* The words to tell, on one line, repaired and cut between characters. */
void failure_set_text(struct failure *failure, const char *words);

/*
 * For people, in one line: "a cell of the table cannot be read (path, row 18, column 3); the site's log: 4f1c09ab". Where
 * there is text it follows behind a colon. Cut between characters if `size` is less than it needs.
 */
void failure_sentence(const struct failure *failure, char *sentence, size_t size);

/*
 * An error that knows its place: its field is `role`, or the tensor's name; the message is for who looks after the data, and
 * stays at the site. Returns -1.
 */
int failure_error(struct rounds_error *error, enum failure_kind kind, const char *role, size_t row, size_t column,
	const char *format, ...) __attribute__((format(printf, 6, 7)));

/* What of an error may be told: kind and place, never the message. Errors that name no cause are put where they belong by kind. */
void failure_of_error(const struct rounds_error *error, struct failure *failure);

/* What each member of the JSON may be, for schemas. */
extern const struct field failure_fields[];

#endif
