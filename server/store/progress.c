#include "server/store/progress.h"

#include "common/uuid.h"
#include "server/store/db.h"

#include <stdio.h>
#include <string.h>

struct progress {
	struct progress *next;
	char job[UUID_TEXT_SIZE];
	json_t *value;
};

const json_t *progress_find(const struct store_tx *tx, const char *job)
{
	for (const struct progress *at = tx->progress; at; at = at->next)
		if (!strcmp(at->job, job))
			return at->value;
	return NULL;
}

int progress_set(struct store_tx *tx, const char *job, json_t *value, struct rounds_error *error)
{
	struct progress *newest = calloc(1, sizeof(*newest));

	if (!newest)
		return error_no_memory(error);
	snprintf(newest->job, sizeof(newest->job), "%s", job);
	newest->value = json_incref(value);
	newest->next = tx->progress;
	tx->progress = newest;
	return 0;
}

/* Takes the first out of a list. */
static void drop(struct progress **first)
{
	struct progress *gone = *first;

	*first = gone->next;
	json_decref(gone->value);
	free(gone);
}

void progress_undo(struct store_tx *tx, const struct progress *mark)
{
	while (tx->progress != mark)
		drop(&tx->progress);
}

void progress_settle(struct store_tx *tx)
{
	for (struct progress *newest = tx->progress; newest; newest = newest->next)
		for (struct progress **older = &newest->next; *older;) {
			if (!strcmp((*older)->job, newest->job))
				drop(older);
			else
				older = &(*older)->next;
		}
}

int progress_write(struct store_tx *tx, struct rounds_error *error)
{
	progress_settle(tx);
	for (const struct progress *at = tx->progress; at; at = at->next)
		if (db_run(tx, error,
			    "INSERT INTO job_progress(job, progress) SELECT id, ?2 FROM job WHERE id = ?1"
			    " ON CONFLICT(job) DO UPDATE SET progress = excluded.progress",
			    "sj", at->job, at->value))
			return -1;
	return 0;
}
