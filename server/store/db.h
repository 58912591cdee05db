/*
 * A thin layer over sqlite3 for the files of this folder: statements are prepared once per connection and found
 * again by their text; parameters are bound by a format; rows come back as C values or as JSON.
 */
#ifndef ROUNDS_SERVER_STORE_DB_H
#define ROUNDS_SERVER_STORE_DB_H

#include "server/store/store.h"

#include <sqlite3.h>
#include <stdbool.h>

struct after_commit;

struct store_tx {
	sqlite3 *db;
	struct statement *statements; /* prepared on this connection */
	struct after_commit *after;   /* of the running write, as is the next */
	struct store_subject subject;
};

void db_statements_free(struct store_tx *tx);

/*
 * Formats, a letter per parameter: `s` const char * (NULL is NULL), `i` int64_t, `d` double (not finite is NULL),
 * `j` const json_t * stored as canonical text (NULL is NULL).
 */
must_check int db_run(struct store_tx *tx, struct rounds_error *error, const char *sql, const char *format, ...);

/* How many rows the last db_run changed. */
int64_t db_changes(const struct store_tx *tx);

/* Begins a query; step through it with db_step, which returns 1 for a row, 0 at the end, -1 with an error. */
must_check int db_query(struct store_tx *tx, struct rounds_error *error, sqlite3_stmt **statement, const char *sql,
	const char *format, ...);
must_check int db_step(struct store_tx *tx, sqlite3_stmt *statement, struct rounds_error *error);

/* One integer of the first row, or `fallback` if there is none or it is NULL. */
must_check int db_integer(struct store_tx *tx, struct rounds_error *error, int64_t fallback, int64_t *out,
	const char *sql, const char *format, ...);

/*
 * The row as a JSON object. A column's name may end in `:json` (parsed), `:time` (microseconds to RFC 3339) or
 * `:bool`; NULL becomes null.
 */
json_t *db_row(sqlite3_stmt *statement);

/* All rows as a JSON array / the first row as an object (*row NULL if there is none). New references. */
must_check int db_rows(
	struct store_tx *tx, struct rounds_error *error, json_t **rows, const char *sql, const char *format, ...);
must_check int db_first(
	struct store_tx *tx, struct rounds_error *error, json_t **row, const char *sql, const char *format, ...);

int db_error(struct store_tx *tx, struct rounds_error *error);

#endif
