/* A copy of the whole database, for backups. */
#include "common/file.h"
#include "server/store/db.h"

#include <fcntl.h>
#include <unistd.h>

static int vacuum_into(sqlite3 *db, const char *to)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &statement, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_bind_text(statement, 1, to, -1, SQLITE_STATIC);
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	sqlite3_finalize(statement);
	return code;
}

int store_copy(const char *path, const char *to, struct rounds_error *error)
{
	struct store_tx tx = { 0 };
	scoped(file_close) int fd = -1;
	int code = sqlite3_open_v2(path, &tx.db, SQLITE_OPEN_READWRITE, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_busy_timeout(tx.db, 10000);
	if (code == SQLITE_OK)
		code = vacuum_into(tx.db, to);
	if (code != SQLITE_OK && code != SQLITE_DONE)
		db_error(&tx, error);
	sqlite3_close(tx.db);
	if (code != SQLITE_OK && code != SQLITE_DONE)
		return error_prefix(error, "cannot copy %s", path);
	fd = open(to, O_RDONLY | O_CLOEXEC);
	return fd < 0 || fsync(fd) ? error_errno(error, "cannot make %s durable", to) : 0;
}
