#include "server/store/store.h"

#include "common/log.h"
#include "common/json.h"
#include "common/text.h"
#include "server/store/db.h"
#include "server/store/migrations.h"
#include "server/store/progress.h"
#include "server/store/specs.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { BATCH_LIMIT = 256 };

struct after_commit {
	struct after_commit *next;
	void (*fn)(void *context, const char *key);
	void *context;
	char key[200];
};

struct write_request {
	struct write_request *next;
	store_fn *fn;
	void *argument;
	const struct store_witness *witness; /* of the thread that asks; may be NULL */
	struct rounds_error *error;
	struct after_commit *after;
	int result;
	bool done;
	pthread_cond_t turn; /* it is done, or first */
};

struct reader {
	struct reader *next;
	struct store_tx tx;
};

struct store {
	char *path;
	pthread_mutex_t lock; /* of all that follows but `tx` */
	struct write_request *first, *last;
	bool writing;
	struct reader *idle;
	struct store_counters counters;
	struct store_tx tx; /* of whoever is writing */
};

int store_after_commit(struct store_tx *tx, void (*fn)(void *context, const char *key), void *context,
	const char *key, struct rounds_error *error)
{
	struct after_commit *after = calloc(1, sizeof(*after));

	if (!after)
		return error_no_memory(error);
	after->fn = fn;
	after->context = context;
	strncpy(after->key, key, sizeof(after->key) - 1);
	after->next = tx->after;
	tx->after = after;
	return 0;
}

static void after_commit_end(struct after_commit *after, bool committed)
{
	while (after) {
		struct after_commit *next = after->next;

		if (committed)
			after->fn(after->context, after->key);
		free(after);
		after = next;
	}
}

/* What came after `before` is not said: what it speaks of was undone. The list begins with the newest. */
static void after_commit_drop(struct store_tx *tx, const struct after_commit *before)
{
	while (tx->after != before) {
		struct after_commit *next = tx->after->next;

		free(tx->after);
		tx->after = next;
	}
}

/* What has read or made JSON that lacks a part has not done what it thinks. */
static int run_whole(struct store_tx *tx, store_fn *fn, void *argument, struct rounds_error *error)
{
	unsigned long before = json_shortages();
	int failed = fn(tx, argument, error);

	return json_shortages() == before ? failed : error_no_memory(error);
}

int store_nested(struct store_tx *tx, store_fn *fn, void *argument, struct rounds_error *error)
{
	struct after_commit *before = tx->after;
	const struct progress *mark = tx->progress;
	int failed;

	if (db_run(tx, error, "SAVEPOINT nested", ""))
		return -1;
	failed = run_whole(tx, fn, argument, error);
	if (failed) {
		after_commit_drop(tx, before);
		progress_undo(tx, mark);
	}
	if (!db_in_transaction(tx))
		return -1;
	if (failed && db_execute(tx, "ROLLBACK TO nested", NULL))
		tx->is_broken = true;
	if (db_run(tx, failed ? NULL : error, "RELEASE nested", "")) {
		tx->is_broken = true;
		return -1;
	}
	return failed ? -1 : 0;
}

static _Thread_local const struct store_witness *attending;

void store_attend(const struct store_witness *witness)
{
	attending = witness;
}

static int run_attended(struct store_tx *tx, const struct write_request *request)
{
	const struct store_witness *witness = request->witness;

	tx->subject = (struct store_subject){ 0 };
	if (witness && witness->before && run_whole(tx, witness->before, witness->argument, request->error))
		return -1;
	if (run_whole(tx, request->fn, request->argument, request->error))
		return -1;
	return witness && witness->after ? run_whole(tx, witness->after, witness->argument, request->error) : 0;
}

void store_about(struct store_tx *tx, const char *kind, const char *id, const char *name)
{
	snprintf(tx->subject.kind, sizeof(tx->subject.kind), "%s", kind);
	snprintf(tx->subject.id, sizeof(tx->subject.id), "%s", id);
	snprintf(tx->subject.name, sizeof(tx->subject.name), "%s", name);
	text_repair(tx->subject.name); /* it may have been cut */
}

int64_t db_wall_us(const struct store_tx *tx)
{
	return world_wall_us(tx->world);
}

const struct store_subject *store_subject(const struct store_tx *tx)
{
	return &tx->subject;
}

static void run_one(struct store *store, struct write_request *request)
{
	const struct progress *mark = store->tx.progress;

	/* SQLite itself undoes the whole transaction when the disk is full: then nothing more may run in this batch. */
	if (store->tx.is_broken || !db_in_transaction(&store->tx) ||
		db_run(&store->tx, request->error, "SAVEPOINT one", "")) {
		request->result = error_set(
			request->error, ERROR_NO_SPACE, "the database could not be written; try again");
		return;
	}
	request->result = run_attended(&store->tx, request);
	request->after = store->tx.after;
	store->tx.after = NULL;
	if (!db_in_transaction(&store->tx)) {
		request->result = -1;
		return;
	}
	if (request->result) {
		if (db_execute(&store->tx, "ROLLBACK TO one", NULL))
			store->tx.is_broken = true;
		progress_undo(&store->tx, mark);
	}
	/* A savepoint that stays would be kept by the commit, though its write has failed. */
	if (db_run(&store->tx, request->result ? NULL : request->error, "RELEASE one", "")) {
		store->tx.is_broken = true;
		request->result = -1;
	}
	progress_settle(&store->tx);
}

static int commit(struct store_tx *tx, struct rounds_error *error)
{
	if (tx->is_broken || !db_in_transaction(tx)) /* it was undone: what is written now would stand alone */
		return error_set(error, ERROR_NO_SPACE, "the database could not be written; try again");
	return progress_write(tx, error) || db_execute(tx, "COMMIT", error) ? -1 : 0;
}

/* Runs a list of requests in one transaction; on a failed commit all of them have failed. */
static void run_batch(struct store *store, struct write_request *batch)
{
	struct rounds_error error = { 0 };
	int64_t begun = world_steady_us(store->tx.world);
	bool committed = false;
	uint64_t writes = 0;

	/* The last one is still open if there was no memory to undo it. */
	if (db_in_transaction(&store->tx))
		db_execute(&store->tx, "ROLLBACK", NULL);
	store->tx.is_broken = false;
	if (!db_execute(&store->tx, "BEGIN IMMEDIATE", &error)) {
		for (struct write_request *request = batch; request; request = request->next)
			run_one(store, request);
		begun = world_steady_us(store->tx.world);
		committed = !commit(&store->tx, &error);
	}
	if (!committed) {
		log_error("commit failed", "reason", error.message, NULL);
		db_execute(&store->tx, "ROLLBACK", NULL);
	}
	progress_undo(&store->tx, NULL);
	begun = world_steady_us(store->tx.world) - begun;
	for (struct write_request *request = batch; request; request = request->next) {
		writes++;
		if (!committed && !request->result) {
			request->result = -1;
			if (request->error)
				*request->error = error;
		}
		after_commit_end(request->after, committed && !request->result);
	}
	pthread_mutex_lock(&store->lock);
	store->counters.commits++;
	store->counters.writes += writes;
	store->counters.commit_us += (uint64_t)begun;
	pthread_mutex_unlock(&store->lock);
}

/* The first of those who wait, and as many behind it as share its commit. With the lock held. */
static struct write_request *take_batch(struct store *store)
{
	struct write_request *batch = store->first, *end = batch;

	for (int i = 1; end->next && i < BATCH_LIMIT; i++)
		end = end->next;
	store->first = end->next;
	end->next = NULL;
	if (!store->first)
		store->last = NULL;
	return batch;
}

/* Whoever is first in the queue writes for all behind it, then the next first does: LevelDB's group commit. With the lock held. */
static void write_batch(struct store *store)
{
	struct write_request *batch = take_batch(store);

	store->writing = true;
	pthread_mutex_unlock(&store->lock);
	run_batch(store, batch);
	pthread_mutex_lock(&store->lock);
	store->writing = false;
	while (batch) {
		struct write_request *next = batch->next; /* the waiter owns it once it is done */

		batch->done = true;
		pthread_cond_signal(&batch->turn);
		batch = next;
	}
	if (store->first)
		pthread_cond_signal(&store->first->turn);
}

int store_write(struct store *store, store_fn *fn, void *argument, struct rounds_error *error)
{
	struct write_request request = { .fn = fn, .argument = argument, .witness = attending, .error = error };

	pthread_cond_init(&request.turn, NULL);
	pthread_mutex_lock(&store->lock);
	if (store->last)
		store->last->next = &request;
	else
		store->first = &request;
	store->last = &request;
	while (!request.done && (store->writing || store->first != &request))
		pthread_cond_wait(&request.turn, &store->lock);
	if (!request.done)
		write_batch(store);
	pthread_mutex_unlock(&store->lock);
	pthread_cond_destroy(&request.turn);
	return request.result;
}

static void reader_free(struct reader *reader)
{
	db_disconnect(&reader->tx);
	free(reader);
}

static struct reader *reader_take(struct store *store, struct rounds_error *error)
{
	struct reader *reader;

	pthread_mutex_lock(&store->lock);
	reader = store->idle;
	if (reader)
		store->idle = reader->next;
	pthread_mutex_unlock(&store->lock);
	if (reader)
		return reader;
	reader = calloc(1, sizeof(*reader));
	if (!reader) {
		error_no_memory(error);
		return NULL;
	}
	reader->tx.world = store->tx.world;
	reader->tx.specs = store->tx.specs;
	if (db_connect(store->path, &reader->tx, error)) {
		free(reader);
		return NULL;
	}
	return reader;
}

int store_read(struct store *store, store_fn *fn, void *argument, struct rounds_error *error)
{
	struct reader *reader = reader_take(store, error);
	int result;

	if (!reader)
		return -1;
	result = db_run(&reader->tx, error, "BEGIN", "") ? -1 : run_whole(&reader->tx, fn, argument, error);
	db_execute(&reader->tx, "ROLLBACK", NULL);
	if (db_in_transaction(&reader->tx)) { /* it would read this moment for ever */
		reader_free(reader);
		return result;
	}
	pthread_mutex_lock(&store->lock);
	reader->next = store->idle;
	store->idle = reader;
	pthread_mutex_unlock(&store->lock);
	return result;
}

int store_scrub(struct store *store, struct rounds_error *error)
{
	return db_scrub(store->path, error);
}

void store_counters(struct store *store, struct store_counters *counters)
{
	pthread_mutex_lock(&store->lock);
	*counters = store->counters;
	pthread_mutex_unlock(&store->lock);
}

int store_open(const char *path, struct world *world, struct store **out, struct rounds_error *error)
{
	scoped(store_close) struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return error_no_memory(error);
	pthread_mutex_init(&store->lock, NULL);
	store->tx.world = world;
	store->path = strdup(path);
	store->tx.specs = specs_new();
	if (!store->path || !store->tx.specs)
		return error_no_memory(error);
	if (db_connect(path, &store->tx, error) || migrations_apply(&store->tx, error))
		return -1;
	*out = store;
	store = NULL;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	while (store->idle) {
		struct reader *next = store->idle->next;

		reader_free(store->idle);
		store->idle = next;
	}
	db_disconnect(&store->tx);
	specs_free(store->tx.specs);
	pthread_mutex_destroy(&store->lock);
	free(store->path);
	free(store);
}
