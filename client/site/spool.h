/*
 * Results that are not delivered yet, on disk: what was trained once is not lost by a restart.
 *
 *     STATE/spool/TASK.json          task, kind, digest, weight, metrics, where its upload is
 *     STATE/spool/TASK.safetensors   the update
 *
 * Nothing is synced: it is there for the daemon's next start. After a loss of power an entry may be torn or its update
 * incomplete; spool_check finds that, and the task is then trained again.
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

/* Moves the update (NULL: none) into the spool and writes the entry. */
must_check int spool_put(
	struct spool *spool, const json_t *entry, const char *update_path, struct rounds_error *error);
/* Writes a changed entry. */
must_check int spool_update(struct spool *spool, const json_t *entry, struct rounds_error *error);
void spool_remove(struct spool *spool, const char *task);

/* The entry of a task, or NULL: a new reference. */
json_t *spool_find(struct spool *spool, const char *task);
/* All entries, oldest first: a new reference. */
json_t *spool_list(struct spool *spool);
/* Whether the update still has the digest that its entry names. */
bool spool_check(struct spool *spool, const json_t *entry);
/* Where a task's update lies: the caller frees; NULL without memory. */
char *spool_update_path(struct spool *spool, const char *task);

#endif
