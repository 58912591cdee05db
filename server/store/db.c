#include "server/store/db.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/text.h"

#include <math.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <string.h>

struct statement {
	struct statement *next;
	const char *sql; /* a string constant: found again by its address */
	sqlite3_stmt *prepared;
};

enum { BUCKETS = 64 };

struct connection {
	sqlite3 *handle;
	struct statement *statements[BUCKETS]; /* prepared on it, by their addresses */
};

static int db_error(struct store_tx *tx, struct rounds_error *error)
{
	int code = sqlite3_errcode(tx->connection->handle);

	if (code == SQLITE_FULL)
		return error_set(error, ERROR_NO_SPACE, "the database's disk is full");
	if (code == SQLITE_NOMEM || code == SQLITE_OK) /* the latter: of ours, not of the library's */
		return error_no_memory(error);
	return error_set(error, code == SQLITE_IOERR ? ERROR_IO : ERROR_INTERNAL, "database: %s",
		sqlite3_errmsg(tx->connection->handle));
}

static sqlite3_stmt *statement_find(struct store_tx *tx, const char *sql)
{
	struct statement **bucket = &tx->connection->statements[(uintptr_t)sql / 16 % BUCKETS];
	struct statement *statement = *bucket;

	while (statement && statement->sql != sql)
		statement = statement->next;
	if (statement) {
		sqlite3_reset(statement->prepared);
		sqlite3_clear_bindings(statement->prepared);
		return statement->prepared;
	}
	statement = calloc(1, sizeof(*statement));
	if (!statement)
		return NULL;
	if (sqlite3_prepare_v3(tx->connection->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement->prepared,
		    NULL) != SQLITE_OK) {
		free(statement);
		return NULL;
	}
	statement->sql = sql;
	statement->next = *bucket;
	*bucket = statement;
	return statement->prepared;
}

static void statements_free(struct store_tx *tx)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (tx->connection->statements[i]) {
			struct statement *first = tx->connection->statements[i];

			tx->connection->statements[i] = first->next;
			sqlite3_finalize(first->prepared);
			free(first);
		}
}

/* Takes the text; NULL: there was no memory for it. */
static int bind_taken(sqlite3_stmt *statement, int at, char *text)
{
	return text ? sqlite3_bind_text(statement, at, text, -1, free) : SQLITE_NOMEM;
}

static int bind_one(sqlite3_stmt *statement, int at, char type, va_list *arguments)
{
	double number;
	const char *text;
	const json_t *value;

	switch (type) {
	case 'i':
		return sqlite3_bind_int64(statement, at, va_arg(*arguments, int64_t));
	case 'd':
		number = va_arg(*arguments, double);
		return isfinite(number) ? sqlite3_bind_double(statement, at, number)
					: sqlite3_bind_null(statement, at);
	case 's':
		text = va_arg(*arguments, const char *);
		if (text && !text_is_utf8(text, strlen(text)))
			return bind_taken(statement, at, text_new_repaired(text, strlen(text)));
		return sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
	default:
		value = va_arg(*arguments, const json_t *);
		return value ? bind_taken(statement, at, json_canonical(value)) : sqlite3_bind_null(statement, at);
	}
}

static int prepare(struct store_tx *tx, struct rounds_error *error, sqlite3_stmt **out, const char *sql,
	const char *format, va_list *arguments)
{
	sqlite3_stmt *statement = statement_find(tx, sql);

	if (!statement)
		return db_error(tx, error);
	for (int i = 0; format[i]; i++) {
		int code = bind_one(statement, i + 1, format[i], arguments);

		if (code != SQLITE_OK)
			return code == SQLITE_NOMEM ? error_no_memory(error) : db_error(tx, error);
	}
	*out = statement;
	return 0;
}

static int step(struct store_tx *tx, sqlite3_stmt *statement, struct rounds_error *error)
{
	int code = sqlite3_step(statement);

	if (code == SQLITE_ROW)
		return 1;
	if (code == SQLITE_DONE) {
		sqlite3_reset(statement);
		return 0;
	}
	db_error(tx, error);
	sqlite3_reset(statement);
	return -1;
}

int db_run(struct store_tx *tx, struct rounds_error *error, const char *sql, const char *format, ...)
{
	sqlite3_stmt *statement;
	va_list arguments;
	int state;

	va_start(arguments, format);
	state = prepare(tx, error, &statement, sql, format, &arguments);
	va_end(arguments);
	if (state)
		return -1;
	while ((state = step(tx, statement, error)) > 0)
		;
	return state;
}

int64_t db_changes(const struct store_tx *tx)
{
	return sqlite3_changes64(tx->connection->handle);
}

int db_integer(struct store_tx *tx, struct rounds_error *error, int64_t fallback, int64_t *out, const char *sql,
	const char *format, ...)
{
	sqlite3_stmt *statement;
	va_list arguments;
	int state;

	va_start(arguments, format);
	state = prepare(tx, error, &statement, sql, format, &arguments);
	va_end(arguments);
	if (state || (state = step(tx, statement, error)) < 0)
		return -1;
	*out = fallback;
	if (state && sqlite3_column_type(statement, 0) != SQLITE_NULL)
		*out = sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	return 0;
}

static json_t *column(sqlite3_stmt *statement, int at, const char *kind)
{
	char time[TIME_TEXT_SIZE];
	int type = sqlite3_column_type(statement, at);

	if (type == SQLITE_NULL)
		return json_null();
	if (kind && !strcmp(kind, ":time")) {
		time_format(sqlite3_column_int64(statement, at), time);
		return json_string(time);
	}
	if (kind && !strcmp(kind, ":bool"))
		return json_boolean(sqlite3_column_int64(statement, at));
	if (kind && !strcmp(kind, ":json"))
		return json_loads((const char *)sqlite3_column_text(statement, at), JSON_DECODE_ANY, NULL);
	if (type == SQLITE_INTEGER)
		return json_integer(sqlite3_column_int64(statement, at));
	if (type == SQLITE_FLOAT)
		return json_real(sqlite3_column_double(statement, at));
	return json_text((const char *)sqlite3_column_text(statement, at)); /* older servers kept text that was cut */
}

static json_t *row_of(sqlite3_stmt *statement)
{
	json_t *row = json_object();

	for (int i = 0; i < sqlite3_column_count(statement); i++) {
		const char *name = sqlite3_column_name(statement, i);
		const char *kind = strchr(name, ':');
		char key[64];
		size_t length = kind ? (size_t)(kind - name) : strlen(name);

		if (length >= sizeof(key))
			length = sizeof(key) - 1;
		memcpy(key, name, length);
		key[length] = '\0';
		json_object_set_new(row, key, column(statement, i, kind));
	}
	return row;
}

int db_rows(struct store_tx *tx, struct rounds_error *error, json_t **rows, const char *sql, const char *format, ...)
{
	json_auto_t *list = json_array();
	sqlite3_stmt *statement;
	va_list arguments;
	int state;

	va_start(arguments, format);
	state = prepare(tx, error, &statement, sql, format, &arguments);
	va_end(arguments);
	if (state)
		return -1;
	while ((state = step(tx, statement, error)) > 0)
		json_array_append_new(list, row_of(statement));
	if (state < 0)
		return -1;
	*rows = json_incref(list);
	return 0;
}

int db_first(struct store_tx *tx, struct rounds_error *error, json_t **row, const char *sql, const char *format, ...)
{
	sqlite3_stmt *statement;
	va_list arguments;
	int state;

	va_start(arguments, format);
	state = prepare(tx, error, &statement, sql, format, &arguments);
	va_end(arguments);
	if (state || (state = step(tx, statement, error)) < 0)
		return -1;
	*row = state ? row_of(statement) : NULL;
	sqlite3_reset(statement);
	return 0;
}

void db_disconnect(struct store_tx *tx)
{
	if (!tx->connection)
		return;
	statements_free(tx);
	sqlite3_close(tx->connection->handle);
	free(tx->connection);
	tx->connection = NULL;
}

static int open_handle(const char *path, int flags, struct store_tx *tx, struct rounds_error *error)
{
	tx->connection = calloc(1, sizeof(*tx->connection));
	if (!tx->connection)
		return error_no_memory(error);
	if (sqlite3_open_v2(path, &tx->connection->handle, flags, NULL) == SQLITE_OK &&
		sqlite3_busy_timeout(tx->connection->handle, 10000) == SQLITE_OK)
		return 0;
	return db_error(tx, error);
}

int db_connect(const char *path, struct store_tx *tx, struct rounds_error *error)
{
	/* NOMUTEX: no connection is used by two threads at once. In WAL mode a reader never waits for the writer. */
	if (!open_handle(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, tx, error) &&
		!db_execute(tx,
			"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
			"PRAGMA secure_delete=ON; PRAGMA cache_size=-2048; PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=16777216",
			error))
		return 0;
	db_disconnect(tx);
	return error_prefix(error, "cannot open %s", path);
}

int db_execute(struct store_tx *tx, const char *sql, struct rounds_error *error)
{
	if (sqlite3_exec(tx->connection->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_error(tx, error);
	return 0;
}

bool db_in_transaction(const struct store_tx *tx)
{
	return !sqlite3_get_autocommit(tx->connection->handle);
}

int db_copy(const char *path, const char *to, struct rounds_error *error)
{
	struct store_tx tx = { 0 };
	int failed = open_handle(path, SQLITE_OPEN_READWRITE, &tx, error) ||
		     db_run(&tx, error, "VACUUM INTO ?1", "s", to);

	db_disconnect(&tx);
	return failed ? error_prefix(error, "cannot copy %s", path) : 0;
}

int db_scrub(const char *path, struct rounds_error *error)
{
	/* While the log is emptied nothing else is written: so long it waits for readers. */
	enum { WAIT_MS = 2000 };
	struct store_tx tx = { 0 };
	int64_t busy = 1;
	int failed;

	if (db_connect(path, &tx, error))
		return -1;
	sqlite3_busy_timeout(tx.connection->handle, WAIT_MS);
	failed = db_integer(&tx, error, 1, &busy, "PRAGMA wal_checkpoint(TRUNCATE)", "");
	db_disconnect(&tx);
	if (failed)
		return -1;
	return busy ? error_set(error, ERROR_UNAVAILABLE, "the database is being read: its log is kept for now") : 0;
}
