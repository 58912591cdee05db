/* A copy of the whole database, for backups. */
#include "common/file.h"
#include "server/store/db.h"

#include <fcntl.h>
#include <unistd.h>

int store_copy(const char *path, const char *to, struct rounds_error *error)
{
	scoped(file_close) int fd = -1;

	if (db_copy(path, to, error))
		return -1;
	fd = open(to, O_RDONLY | O_CLOEXEC);
	return fd < 0 || fsync(fd) ? error_errno(error, "cannot make %s durable", to) : 0;
}
