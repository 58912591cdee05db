/*
 * The records of a CSV table (RFC 4180, read by libcsv): fields between separators, in quotation marks where they hold one,
 * lines that end with CR LF, LF or CR. Blank lines hold no record.
 *
 * The separator is what the administrator says, or the file's first line if that is spreadsheets' `sep=;`, or the one of
 * comma, semicolon, tab and | that parts the header and the first lines alike; where two do, it must be said.
 */
#ifndef ROUNDS_CLIENT_TABLES_RECORDS_H
#define ROUNDS_CLIENT_TABLES_RECORDS_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

struct record {
	size_t row;          /* as a spreadsheet counts: the header is 1, blank lines count */
	size_t count;        /* of its fields; 0: there are no more records */
	const char **fields; /* UTF-8 without NUL, spaces around them removed; borrowed until the next record */
};

struct records;

/*
 * `encoding` and `delimiter` may be NULL: not said; they are borrowed. Errors have a cause of failure.h, row and column; they
 * hold nothing of the table and do not name the file.
 */
must_check int records_open(const char *path, const char *encoding, const char *delimiter, struct records **records,
	struct rounds_error *error);
void records_free(struct records *records);
DEFINE_CLEANUP(struct records *, records_free);

/* The header is the first record. */
must_check int records_next(struct records *records, struct record *record, struct rounds_error *error);

/* For people: how the table turned out to be written. */
char records_delimiter(const struct records *records);
const char *records_encoding(const struct records *records);
bool records_packed(const struct records *records);

#endif
