#include "client/site/telling.h"

#include "client/site/tables.h"
#include "common/json.h"
#include "common/log.h"

#include <pthread.h>
#include <string.h>

enum { TOLD_LIMIT = 60 * 1024 }; /* bytes of JSON; a server takes 64 KB */

/* Held by the daemon and by the thread: whoever lets go of it last frees it. */
struct telling {
	pthread_mutex_t lock;
	json_t *datasets; /* the thread's own copy: those of which there is something to tell */
	json_t *told;     /* guarded by the lock */
	bool done;        /* all is told that there is; guarded by the lock */
	int holders;      /* guarded by the lock */
};

static void let_go(struct telling *telling)
{
	int left;

	pthread_mutex_lock(&telling->lock);
	left = --telling->holders;
	pthread_mutex_unlock(&telling->lock);
	if (left > 0)
		return;
	json_decref(telling->datasets);
	json_decref(telling->told);
	pthread_mutex_destroy(&telling->lock);
	free(telling);
}

/* All at once, so that what is told is changed and never grows under a reader. */
static void add(struct telling *telling, const char *name, json_t *table)
{
	json_t *told = telling->told ? json_copy(telling->told) : json_object(), *before;

	json_object_set(told, name, table);
	if (json_dumpb(told, NULL, 0, JSON_COMPACT) > TOLD_LIMIT) {
		log_warn("the names of this table's columns are too many to be told", "dataset", name, NULL);
		json_object_del(table, "columns");
	}
	pthread_mutex_lock(&telling->lock);
	before = telling->told;
	telling->told = told;
	pthread_mutex_unlock(&telling->lock);
	json_decref(before);
}

static void *read_tables(void *argument)
{
	struct telling *telling = argument;
	const char *name;
	json_t *dataset;

	json_object_foreach (telling->datasets, name, dataset) {
		json_auto_t *described = NULL, *table = NULL;
		struct rounds_error error = { 0 };

		if (table_describe(dataset, &described, &error)) {
			log_warn("nothing is told of a table that cannot be read", "dataset", name, "reason",
				error.message, NULL);
			continue;
		}
		table = table_told(dataset, described);
		add(telling, name, table);
	}
	pthread_mutex_lock(&telling->lock);
	telling->done = true;
	pthread_mutex_unlock(&telling->lock);
	let_go(telling);
	return NULL;
}

static json_t *datasets_to_tell(const json_t *settings)
{
	json_t *chosen = json_object(), *dataset;
	const char *name;

	json_object_foreach (json_object_get(settings, "datasets"), name, dataset)
		if (strcmp(json_text_or(dataset, "describe", "names"), "names") != 0)
			json_object_set_new(chosen, name, json_deep_copy(dataset));
	return chosen;
}

struct telling *telling_begin(const json_t *settings)
{
	struct telling *telling = calloc(1, sizeof(*telling));
	pthread_t thread;

	if (!telling)
		return NULL;
	pthread_mutex_init(&telling->lock, NULL);
	telling->holders = 2;
	telling->datasets = datasets_to_tell(settings);
	if (json_object_size(telling->datasets) > 0 && !pthread_create(&thread, NULL, read_tables, telling)) {
		pthread_detach(thread);
		return telling;
	}
	telling->holders = 1;
	let_go(telling);
	return NULL;
}

json_t *telling_told(struct telling *telling)
{
	json_t *told;

	if (!telling)
		return NULL;
	pthread_mutex_lock(&telling->lock);
	told = json_incref(telling->told);
	pthread_mutex_unlock(&telling->lock);
	return told;
}

bool telling_goes_on(struct telling *telling)
{
	bool done = true;

	if (telling) {
		pthread_mutex_lock(&telling->lock);
		done = telling->done;
		pthread_mutex_unlock(&telling->lock);
	}
	return !done;
}

void telling_end(struct telling *telling)
{
	if (telling)
		let_go(telling);
}
