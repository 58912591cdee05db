/* The thread that proves lineages, beside the one that aggregates: a long proof holds up no round. */
#include "server/engine/internal.h"

#include "common/condition.h"
#include "common/json.h"
#include "common/log.h"
#include "common/uuid.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"

#include <string.h>

/* Asked for and not answered, of all jobs; one job has one at a time. */
enum { QUEUE_LIMIT = 20 };

struct asking {
	struct world *world;
	const char *job;
	char *id; /* UUID_TEXT_SIZE bytes */
};

static int ask(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct asking *asking = argument;
	json_auto_t *job = NULL, *waiting = NULL;
	size_t i;
	json_t *row;

	if (job_find(tx, asking->job, &job, error) || verification_list_running(tx, &waiting, error))
		return -1;
	json_array_foreach (waiting, i, row)
		if (!strcmp(json_text_or(row, "job", ""), asking->job)) {
			memcpy(asking->id, json_text_or(row, "id", ""), UUID_TEXT_SIZE);
			return 0;
		}
	if (json_array_size(waiting) >= QUEUE_LIMIT)
		return error_set(
			error, ERROR_TOO_MANY, "%d proofs are asked for and not done; ask again later", QUEUE_LIMIT);
	uuid_new(asking->world, asking->id);
	return verification_insert(tx, asking->id, asking->job, error);
}

int engine_verify(struct engine *engine, const char *job, char id[37], struct rounds_error *error)
{
	struct asking asking = { engine->options.world, job, id };

	if (store_write(engine->options.store, ask, &asking, error))
		return -1;
	pthread_mutex_lock(&engine->lock);
	engine->work_to_prove = true;
	pthread_cond_signal(&engine->prove);
	pthread_mutex_unlock(&engine->lock);
	return 0;
}

static int take_oldest(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	json_t **oldest = argument;
	json_auto_t *waiting = NULL;

	if (verification_list_running(tx, &waiting, error))
		return -1;
	*oldest = json_incref(json_array_get(waiting, 0));
	return 0;
}

struct proof_report {
	struct engine *engine;
	const char *id, *job;
	const json_t *report;
};

static int store_report(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct proof_report *report = argument;

	return verification_finish(tx, report->id, report->report, error) ||
			       wake_job(report->engine, tx, report->job, error)
		       ? -1
		       : 0;
}

bool prove_once(struct engine *engine)
{
	json_auto_t *asked = NULL, *made = NULL;
	struct rounds_error error = { 0 };
	struct proof_report report = { .engine = engine };
	unsigned long before = json_shortages();

	if (store_read(engine->options.store, take_oldest, &asked, &error))
		goto failed;
	if (!asked)
		return false;
	report.id = json_text_or(asked, "id", "");
	report.job = json_text_or(asked, "job", "");
	if (verify_job(engine, report.job, &made, &error))
		goto failed;
	if (json_shortages() != before) { /* what could not be looked at is not found wrong */
		error_no_memory(&error);
		goto failed;
	}
	report.report = made;
	if (!store_write(engine->options.store, store_report, &report, &error))
		return true;
failed:
	log_error("a proof could not go on; it is tried again", "reason", error.message, NULL);
	return false;
}

void *proving_run(void *argument)
{
	struct engine *engine = argument;
	bool stopping, more = true;

	for (;;) {
		pthread_mutex_lock(&engine->lock);
		/* Whatever was missed or failed is tried again then. */
		if (!more && !engine->work_to_prove && !engine->stopping)
			condition_wait(&engine->prove, &engine->lock, 2 * SECOND_US);
		engine->work_to_prove = false;
		stopping = engine->stopping;
		pthread_mutex_unlock(&engine->lock);
		if (stopping)
			return NULL;
		more = prove_once(engine);
	}
}
