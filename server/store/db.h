/*
 * The driver: the one door between the SQL of this folder and the library that runs it (db.c, SQLite). Statements are prepared
 * once per connection and found again by their text; parameters are bound by a format; rows come back as C values or as JSON.
 * No type of the library is in here, so that another database is another db.c.
 */
#ifndef ROUNDS_SERVER_STORE_DB_H
#define ROUNDS_SERVER_STORE_DB_H

#include "server/store/store.h"

#include <stdbool.h>

struct after_commit;
struct progress;
struct specs;
struct connection; /* the driver's; used by one thread at a time */

struct store_tx {
	struct world *world;
	struct connection *connection;
	struct specs *specs;        /* of the store */
	struct after_commit *after; /* of the running write, as is the next */
	struct store_subject subject;
	bool is_broken;            /* what failed in it could not be undone: nothing of it may be kept */
	struct progress *progress; /* of the running transaction */
};

/* Wall time in the store's world. */
int64_t db_wall_us(const struct store_tx *tx);

/* Opens the database, or makes it. */
must_check int db_connect(const char *path, struct store_tx *tx, struct rounds_error *error);
void db_disconnect(struct store_tx *tx);

/* Statements without parameters and without rows, up to the first that fails. */
int db_execute(struct store_tx *tx, const char *sql, struct rounds_error *error);
/* False also once the database itself has undone the transaction, as when its disk is full. */
bool db_in_transaction(const struct store_tx *tx);
/* A consistent copy of the whole database into a new file, while others use it. */
must_check int db_copy(const char *path, const char *to, struct rounds_error *error);

/* Empties the database's log, so that nothing that was deleted stands in it; ERROR_UNAVAILABLE while something reads for long. */
must_check int db_scrub(const char *path, struct rounds_error *error);

/*
 * Formats, a letter per parameter: `s` const char * (NULL is NULL), `i` int64_t, `d` double (not finite is NULL),
 * `j` const json_t * stored as canonical text (NULL is NULL).
 */
must_check int db_run(struct store_tx *tx, struct rounds_error *error, const char *sql, const char *format, ...);

/* How many rows the last db_run changed. */
int64_t db_changes(const struct store_tx *tx);

/* One integer of the first row, or `fallback` if there is none or it is NULL. */
must_check int db_integer(struct store_tx *tx, struct rounds_error *error, int64_t fallback, int64_t *out,
	const char *sql, const char *format, ...);

/*
 * All rows as a JSON array / the first row as an object (*row NULL if there is none). New references. A column's name may end
 * in `:json` (parsed), `:time` (microseconds to RFC 3339) or `:bool`; NULL becomes null.
 */
must_check int db_rows(
	struct store_tx *tx, struct rounds_error *error, json_t **rows, const char *sql, const char *format, ...);
must_check int db_first(
	struct store_tx *tx, struct rounds_error *error, json_t **row, const char *sql, const char *format, ...);

#endif
