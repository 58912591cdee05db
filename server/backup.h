/*
 * Copies of a data directory: how one is made while the server runs, how it becomes a data directory again, and how a server
 * knows that it stands on one. Two servers that both lease tasks of the same jobs would train everything twice and send every
 * webhook twice, so a copy waits for a person to say that the original is gone.
 */
#ifndef ROUNDS_SERVER_BACKUP_H
#define ROUNDS_SERVER_BACKUP_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

struct backup_report {
	uint64_t blobs, bytes;
};

/*
 * A consistent copy of `directory` in `to`, which must not exist or be empty: the database as it is at one moment, every blob that
 * it names (each checked by its digest), keys and certificates. Uploads under way are left out: their clients begin anew. What is
 * there when it returns is durable.
 */
must_check int backup_make(
	const char *directory, const char *to, struct backup_report *report, struct rounds_error *error);

/* A backup becomes a data directory, which must not exist or be empty; its server waits to be told that the original is gone. */
must_check int backup_restore(
	const char *from, const char *directory, struct backup_report *report, struct rounds_error *error);

/*
 * Whether a directory is a copy of another: restored from a backup, or its mark (`original`, a file that names its own inode and
 * time of birth) is not the file that was made here. A directory without a mark gets one. `original_is_gone` makes a copy the
 * original. A snapshot of the whole disk cannot be told from what it was taken of.
 */
must_check int backup_is_copy(
	const char *directory, bool original_is_gone, bool *is_copy, struct rounds_error *error);

#endif
