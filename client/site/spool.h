/*
 * Results that are not delivered yet, on disk: what was trained once is not lost by a restart.
 *
 *     STATE/spool/TASK.json         task, kind, files by name (common/artifact.h), weight, metrics, where an upload is
 *     STATE/spool/TASK.files/NAME   each of them
 *
 * Nothing is synced: it is there for the daemon's next start. After a loss of power an entry may be torn or a file
 * incomplete; spool_check finds that, and the task is then trained again. What a daemon of an earlier version has left, one update
 * as TASK.safetensors, is taken over as it is found.
 */
#ifndef ROUNDS_CLIENT_SITE_SPOOL_H
#define ROUNDS_CLIENT_SITE_SPOOL_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

struct spool;

must_check int spool_open(const char *directory, struct spool **spool, struct rounds_error *error);
void spool_free(struct spool *spool);
DEFINE_CLEANUP(struct spool *, spool_free);

/* Moves the files, {name: path}, into the spool and writes the entry. */
must_check int spool_put(struct spool *spool, const json_t *entry, const json_t *paths, struct rounds_error *error);
/* Writes a changed entry. */
must_check int spool_update(struct spool *spool, const json_t *entry, struct rounds_error *error);
void spool_remove(struct spool *spool, const char *task);

/* The entry of a task, or NULL: a new reference. */
json_t *spool_find(struct spool *spool, const char *task);
/* All entries, oldest first: a new reference. */
json_t *spool_list(struct spool *spool);
/* Whether its files still have the digests that the entry names. */
bool spool_check(struct spool *spool, const json_t *entry);
/* Where a file of a task's result lies: the caller frees; NULL without memory. */
char *spool_file_path(struct spool *spool, const char *task, const char *name);

#endif
