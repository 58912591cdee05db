/* Uploads: whose they are, how many an owner may have, and how they become blobs. */
#include "server/engine/internal.h"

#include "common/json.h"

#include <string.h>

const struct upload_limits *engine_upload_limits(const struct engine *engine)
{
	return &engine->options.uploads;
}

struct creation {
	const struct upload_limits *limits;
	const struct new_upload *row;
	bool whole;
};

/* In the transaction that records it: two at once are counted one after the other. */
static int create_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct creation *creation = argument;
	const struct upload_limits *limits = creation->limits;
	json_auto_t *loads = NULL;
	const json_t *load;
	uint64_t count, bytes;

	if (owner_loads(tx, creation->row->owner, &loads, error))
		return -1;
	load = json_array_get(loads, 0);
	count = (uint64_t)(json_integer_or(load, "uploads", 0) + json_integer_or(load, "unused_blobs", 0));
	bytes = (uint64_t)(json_integer_or(load, "announced_bytes", 0) + json_integer_or(load, "unused_bytes", 0));
	if (count >= limits->owner_count)
		return error_set(error, ERROR_TOO_MANY,
			"you have %llu uploads that are not complete or that no job uses; finish or DELETE some, or "
			"wait until they expire",
			(unsigned long long)count);
	if (bytes + creation->row->length > limits->owner_bytes)
		return error_set(error, ERROR_TOO_MANY,
			"with this upload you would have more than %llu bytes that no job uses; finish or DELETE some "
			"uploads, or wait until they expire",
			(unsigned long long)limits->owner_bytes);
	return creation->whole ? 0 : upload_insert(tx, creation->row, error);
}

/* What was announced is as good as there; and one owner alone takes no more than half of what is left. */
static int check_room(struct engine *engine, const struct new_upload *row, struct rounds_error *error)
{
	uint64_t space = blobs_space(engine->options.blobs), all, own;

	if (row->length > engine->options.uploads.bytes)
		return error_set(error, ERROR_TOO_LARGE, "an upload may have at most %llu bytes",
			(unsigned long long)engine->options.uploads.bytes);
	uploads_promised(engine->options.blobs, row->owner, &all, &own);
	if (all > space || row->length > space - all || own + row->length > space / 2)
		return error_set(error, ERROR_NO_SPACE, "the server has no room for %llu bytes now",
			(unsigned long long)row->length);
	return 0;
}

int engine_upload_new(struct engine *engine, const struct new_upload *row, bool whole, struct rounds_error *error)
{
	struct creation creation = { &engine->options.uploads, row, whole };
	const struct upload_facts facts = { .id = row->id, .owner = row->owner, .length = row->length };

	if (check_room(engine, row, error) ||
		(whole ? store_read(engine->options.store, create_in, &creation, error)
		       : store_write(engine->options.store, create_in, &creation, error)))
		return -1;
	return upload_create(engine->options.blobs, &facts, error);
}

struct stored {
	const char *id, *owner;
	struct digest digest;
	uint64_t size;
};

static int stored_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct stored *stored = argument;
	char text[DIGEST_TEXT_SIZE];

	digest_format(&stored->digest, text);
	return blob_add_in(tx, &stored->digest, stored->size, stored->owner, error) ||
			       upload_finish(tx, stored->id, text, error)
		       ? -1
		       : 0;
}

int engine_upload_complete(
	struct engine *engine, const char *id, const char *owner, const char *expected, struct rounds_error *error)
{
	struct stored stored = { .id = id, .owner = owner };
	struct rounds_error ignored;
	struct digest wanted;
	int failed;

	if (upload_offset(engine->options.blobs, id, &stored.size, error))
		return -1;
	if (upload_complete(engine->options.blobs, id, digest_parse(expected, &wanted) ? &wanted : NULL,
		    &stored.digest, error)) {
		if (error->kind == ERROR_CHECKSUM)
			(void)!engine_upload_drop(engine, id, &ignored);
		return -1;
	}
	failed = store_write(engine->options.store, stored_in, &stored, error);
	blob_settle(engine->options.blobs, &stored.digest);
	/* Its file is a blob that nobody knows, until the next start finds it: the client begins anew. */
	if (failed)
		(void)!engine_upload_drop(engine, id, &ignored);
	return failed;
}

static int drop_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return upload_delete(tx, argument, error);
}

int engine_upload_drop(struct engine *engine, const char *id, struct rounds_error *error)
{
	int failed = store_write(engine->options.store, drop_in, (void *)(uintptr_t)id, error);

	upload_remove(engine->options.blobs, id);
	return failed;
}

static int list_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return upload_list(tx, argument, error);
}

int uploads_recover(struct engine *engine, struct rounds_error *error)
{
	json_auto_t *rows = NULL;
	size_t i;
	json_t *row;

	if (store_read(engine->options.store, list_in, &rows, error))
		return -1;
	json_array_foreach (rows, i, row) {
		const struct upload_facts facts = { .id = json_text_or(row, "id", ""),
			.owner = json_text_or(row, "owner", ""),
			.length = (uint64_t)json_integer_or(row, "length", 0),
			.is_complete = json_text_or(row, "blob", NULL) != NULL };

		if (upload_find_again(engine->options.blobs, &facts, error))
			return -1;
	}
	return uploads_clear(engine->options.blobs, error);
}

static int list_expired_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return upload_list_expired(tx, argument, error);
}

int uploads_expire(struct engine *engine, struct rounds_error *error)
{
	json_auto_t *rows = NULL;
	size_t i;
	json_t *row;

	if (store_read(engine->options.store, list_expired_in, &rows, error))
		return -1;
	json_array_foreach (rows, i, row) {
		const char *id = json_text_or(row, "id", "");

		if (!upload_is_active(engine->options.blobs, id) && engine_upload_drop(engine, id, error))
			return -1;
	}
	return 0;
}
