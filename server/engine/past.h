/* A job's history as its rows tell it (struct history of workflow.h), for one step and its transaction. */
#ifndef ROUNDS_SERVER_ENGINE_PAST_H
#define ROUNDS_SERVER_ENGINE_PAST_H

#include "common/scope.h"
#include "server/engine/workflow.h"
#include "server/store/store.h"

struct past {
	struct history history;
	struct store_tx *tx;
	const char *job;
	json_t *rows;       /* of the job's sites, once asked for */
	const char **names; /* in them */
	struct rounds_error *error;
	bool failed; /* something could not be read: `error` says why */
};

/* What is given is borrowed until past_free(). */
struct history *past_begin(struct past *past, struct store_tx *tx, const char *job, struct rounds_error *error);
void past_free(struct past past);
DEFINE_CLEANUP(struct past, past_free);

#endif
