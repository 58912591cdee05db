/* What is kept of a job's past, and when blobs leave the disk. */
#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "server/store/blob_index.h"
#include "server/store/rounds.h"

#include <time.h>

/* A blob that nothing has used yet stays so long: an update that is about to be reported, a model that is about to be named. */
#define UNUSED_US        (10 * 60 * SECOND_US)
#define UNUSED_PEOPLE_US (24 * 3600 * SECOND_US)

/* Of a deletion, some milliseconds apart, while another thread sweeps. */
enum { SWEEP_TRIES = 50 };

int retain(struct store_tx *tx, const json_t *job, int64_t round, struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", "");
	const json_t *keep = json_object_get(json_object_get(job, "spec"), "retention");

	return blob_unuse(tx, id, "update", round + 1 - json_integer_or(keep, "updates", 10), error) ||
			       blob_unuse(
				       tx, id, "control", round + 1 - json_integer_or(keep, "models", 10), error) ||
			       blob_unuse(tx, id, "model", round + 1 - json_integer_or(keep, "models", 10), error) ||
			       blob_unuse_tasks(tx, id, error) ||
			       history_trim(tx, id, round + 1 - json_integer_or(keep, "history", 1000), error)
		       ? -1
		       : 0;
}

int blob_add_in(struct store_tx *tx, const struct digest *digest, uint64_t size, const char *owner,
	struct rounds_error *error)
{
	char text[DIGEST_TEXT_SIZE];

	digest_format(digest, text);
	return blob_index_add(tx, text, size, owner, error);
}

/*
 * A blob goes in steps, each of which a crash may follow: it is doomed in the index, from when on nothing can begin to use it;
 * its name is taken and the index forgets it; its space is given back. The middle step is a write as the entering of a blob is,
 * and so before it or after: one that has been entered again is not doomed any more, one that will be is appearing.
 */
static int doom_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct engine *engine = argument;
	int64_t now = world_wall_us(engine->options.world);

	return blob_index_doom(tx, now - UNUSED_US, now - UNUSED_PEOPLE_US, error);
}

static int remove_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct engine *engine = argument;
	json_auto_t *doomed = NULL;
	size_t i;
	json_t *row;

	if (blob_index_doomed(tx, &doomed, error))
		return -1;
	json_array_foreach (doomed, i, row) {
		const char *text = json_text_or(row, "digest", "");
		struct digest digest;

		if (digest_parse(text, &digest) && !blob_remove(engine->options.blobs, &digest))
			continue;
		if (blob_index_forget(tx, text, error))
			return -1;
	}
	return 0;
}

static int count_doomed_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	json_auto_t *doomed = NULL;

	if (blob_index_doomed(tx, &doomed, error))
		return -1;
	*(size_t *)argument = json_array_size(doomed);
	return 0;
}

/* ERROR_CONFLICT while a backup is made, or another thread sweeps. */
static int sweep_blobs(struct engine *engine, size_t *left, struct rounds_error *error)
{
	struct store *store = engine->options.store;
	scoped(file_close) int lock = -1;
	int failed;

	if (blobs_removal_begin(engine->options.blobs, &lock, error))
		return -1;
	failed = store_write(store, doom_in, engine, error) || store_write(store, remove_in, engine, error) ||
		 store_read(store, count_doomed_in, left, error);
	blobs_empty(engine->options.blobs);
	return failed ? -1 : 0;
}

static void set_scrub_due(struct engine *engine, bool due)
{
	pthread_mutex_lock(&engine->lock);
	engine->scrub_due = due;
	pthread_mutex_unlock(&engine->lock);
}

static bool is_scrub_due(struct engine *engine)
{
	bool due;

	pthread_mutex_lock(&engine->lock);
	due = engine->scrub_due;
	pthread_mutex_unlock(&engine->lock);
	return due;
}

/* Weights first: forgetting them deletes rows, too. Not while a backup reads the database. */
static int scrub(struct engine *engine, struct rounds_error *error)
{
	scoped(file_close) int lock = -1;

	if (blobs_removal_begin(engine->options.blobs, &lock, error) || store_scrub(engine->options.store, error))
		return -1;
	set_scrub_due(engine, false);
	return 0;
}

static bool is_for_later(const struct rounds_error *error)
{
	return error->kind == ERROR_CONFLICT || error->kind == ERROR_UNAVAILABLE;
}

int sweep(struct engine *engine, struct rounds_error *error)
{
	size_t left;

	if (sweep_blobs(engine, &left, error) && !is_for_later(error))
		return -1;
	if (is_scrub_due(engine) && scrub(engine, error) && !is_for_later(error))
		return -1;
	return uploads_expire(engine, error);
}

bool sweep_now(struct engine *engine)
{
	struct rounds_error error = { 0 };
	size_t left = 1, before = SIZE_MAX;

	set_scrub_due(engine, true);
	for (int tries = 0; left > 0 && tries < SWEEP_TRIES;) {
		bool failed = sweep_blobs(engine, &left, &error) != 0;

		if (!failed && left < before) {
			before = left;
			continue; /* some hundreds at a time */
		}
		tries++;
		nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000 * 1000 }, NULL);
	}
	if (left > 0 || scrub(engine, &error)) {
		log_info("what was deleted goes from the disk a little later", "reason", error.message, NULL);
		return false;
	}
	return true;
}

struct reviewing {
	struct store_tx *tx;
	size_t strays;
};

static int is_known(void *argument, const struct digest *digest, struct rounds_error *error)
{
	struct reviewing *reviewing = argument;
	char text[DIGEST_TEXT_SIZE];
	bool known;

	digest_format(digest, text);
	if (blob_index_knows(reviewing->tx, text, &known, error))
		return -1;
	reviewing->strays += !known;
	return known;
}

static int review_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct engine *engine = argument;
	struct reviewing reviewing = { .tx = tx };

	if (blobs_review(engine->options.blobs, is_known, &reviewing, error))
		return -1;
	if (reviewing.strays)
		log_info("removed blobs that the last run had not entered in the index", NULL);
	return 0;
}

int blobs_recover(struct engine *engine, struct rounds_error *error)
{
	return store_read(engine->options.store, review_in, engine, error);
}
