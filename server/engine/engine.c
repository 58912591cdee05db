#include "server/engine/internal.h"

#include "common/condition.h"
#include "common/log.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

/* Steady times of another boot mean nothing: leases and timers then count anew from now. */
static int recover(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	char boot[37];
	bool changed;
	struct engine *engine = argument;
	int64_t now = engine_now(engine);

	world_boot_id(engine->options.world, boot);
	if (setting_swap(tx, "boot", boot, &changed, error))
		return -1;
	if (!changed)
		return 0;
	log_info("the machine has booted since the last run: leases and deadlines are granted anew", NULL);
	return task_regrant(tx, now, error) || timer_regrant(tx, now, error) || job_regrant(tx, now, error) ? -1 : 0;
}

int engine_open(const struct engine_options *options, struct engine **out, struct rounds_error *error)
{
	scoped(engine_close) struct engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return error_no_memory(error);
	engine->options = *options;
	pthread_mutex_init(&engine->lock, NULL);
	condition_init(&engine->tick);
	condition_init(&engine->aggregate);
	condition_init(&engine->prove);
	engine->silent = json_object();
	engine->swept = engine_now(engine);
	engine->presence = presence_new(options->world);
	if (!engine->presence)
		return error_no_memory(error);
	if (store_write(options->store, recover, engine, error) || uploads_recover(engine, error) ||
		blobs_recover(engine, error))
		return -1;
	*out = engine;
	engine = NULL;
	return 0;
}

int engine_start(struct engine *engine, struct rounds_error *error)
{
	engine->work_to_aggregate = engine->kicked = true;
	if (pthread_create(&engine->ticker, NULL, ticker_run, engine))
		return error_set(error, ERROR_UNAVAILABLE, "cannot start the engine's thread");
	engine->ticker_runs = true;
	if (pthread_create(&engine->aggregator, NULL, aggregation_run, engine))
		return error_set(error, ERROR_UNAVAILABLE, "cannot start the aggregation's thread");
	engine->aggregator_runs = true;
	if (pthread_create(&engine->prover, NULL, proving_run, engine))
		return error_set(error, ERROR_UNAVAILABLE, "cannot start the thread of proofs");
	engine->prover_runs = true;
	return 0;
}

void engine_drain(struct engine *engine)
{
	pthread_mutex_lock(&engine->lock);
	engine->draining = true;
	pthread_mutex_unlock(&engine->lock);
}

void engine_kick(struct engine *engine)
{
	pthread_mutex_lock(&engine->lock);
	engine->kicked = true;
	pthread_cond_signal(&engine->tick);
	pthread_mutex_unlock(&engine->lock);
}

void engine_close(struct engine *engine)
{
	if (!engine)
		return;
	pthread_mutex_lock(&engine->lock);
	engine->stopping = true;
	pthread_cond_signal(&engine->tick);
	pthread_cond_signal(&engine->aggregate);
	pthread_cond_signal(&engine->prove);
	pthread_mutex_unlock(&engine->lock);
	if (engine->ticker_runs)
		pthread_join(engine->ticker, NULL);
	if (engine->aggregator_runs)
		pthread_join(engine->aggregator, NULL);
	if (engine->prover_runs)
		pthread_join(engine->prover, NULL);
	presence_free(engine->presence);
	json_decref(engine->silent);
	pthread_cond_destroy(&engine->tick);
	pthread_cond_destroy(&engine->aggregate);
	pthread_cond_destroy(&engine->prove);
	pthread_mutex_destroy(&engine->lock);
	free(engine);
}

int64_t engine_now(const struct engine *engine)
{
	return world_steady_us(engine->options.world);
}

void engine_counters(struct engine *engine, struct engine_counters *counters)
{
	pthread_mutex_lock(&engine->lock);
	*counters = engine->counters;
	pthread_mutex_unlock(&engine->lock);
}

int64_t engine_site_doubled(struct engine *engine, const char *site)
{
	return presence_doubled(engine->presence, site);
}

bool engine_site_present(struct engine *engine, const char *site)
{
	return presence_has(engine->presence, site);
}
