/* What is kept of a job's past, and when blobs leave the disk. */
#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "server/store/blob_index.h"
#include "server/store/rounds.h"

/* A blob that nothing has used yet stays so long: an update that is about to be reported, a model that is about to be named. */
#define UNUSED_US        (10 * 60 * SECOND_US)
#define UNUSED_PEOPLE_US (24 * 3600 * SECOND_US)

int retain(struct store_tx *tx, const json_t *job, int64_t round, struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", "");
	const json_t *keep = json_object_get(json_object_get(job, "spec"), "retention");

	return blob_unuse(tx, id, "update", round + 1 - json_integer_or(keep, "updates", 10), error) ||
			       blob_unuse(
				       tx, id, "control", round + 1 - json_integer_or(keep, "models", 10), error) ||
			       blob_unuse(tx, id, "model", round + 1 - json_integer_or(keep, "models", 10), error) ||
			       history_trim(tx, id, round + 1 - json_integer_or(keep, "history", 1000), error)
		       ? -1
		       : 0;
}

int blob_add_in(struct engine *engine, struct store_tx *tx, const struct digest *digest, uint64_t size,
	const char *owner, struct rounds_error *error)
{
	scoped(file_close) int fd = -1;
	char text[DIGEST_TEXT_SIZE];
	uint64_t actual;

	digest_format(digest, text);
	/* The sweep runs on this same thread: what is there now stays, since it is in the index from here on. */
	if (blob_open(engine->options.blobs, digest, &fd, &actual, error))
		return error_set(error, ERROR_BLOB_MISSING, "the blob was swept away just now; upload it again");
	return blob_index_add(tx, text, size, owner, error);
}

static int sweep_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct engine *engine = argument;
	json_auto_t *blobs = NULL;
	int64_t now = clock_wall_us();
	struct digest digest;
	size_t i;
	json_t *row;

	if (blob_index_unused(tx, now - UNUSED_US, now - UNUSED_PEOPLE_US, &blobs, error))
		return -1;
	json_array_foreach (blobs, i, row) {
		if (blob_index_forget(tx, json_text_or(row, "digest", ""), error))
			return -1;
		if (digest_parse(json_text_or(row, "digest", ""), &digest))
			blob_remove(engine->options.blobs, &digest);
	}
	return 0;
}

int sweep(struct engine *engine, struct rounds_error *error)
{
	return store_write(engine->options.store, sweep_in, engine, error) || uploads_expire(engine, error) ? -1 : 0;
}
