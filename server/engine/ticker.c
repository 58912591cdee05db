/* What time does: leases run out, timers go off, held jobs go on, the queue is looked at, old blobs are swept. */
#include "server/engine/internal.h"

#include "common/condition.h"
#include "common/json.h"
#include "common/log.h"
#include "server/store/blob_index.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#define TICK_US  SECOND_US
#define SWEEP_US (10 * SECOND_US)
/* A job that paused for want of space goes on when its model would fit twice, and this. */
#define SPACE_BESIDE (UINT64_C(4) << 20)

static int fail_each(struct engine *engine, struct store_tx *tx, const json_t *tasks, const struct task_fault *fault,
	struct rounds_error *error)
{
	size_t i;
	json_t *task;

	json_array_foreach (tasks, i, task) {
		json_auto_t *now = NULL;

		/* The failure of one may have cancelled the next. */
		if (task_find(tx, json_text_or(task, "id", ""), &now, error))
			return -1;
		if (!state_is_final(&task_machine, json_text_or(now, "state", "")) &&
			task_failed_in(engine, tx, now, fault, error))
			return -1;
	}
	return 0;
}

static int expire_leases(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	const struct task_fault fault = { .reason = "its lease ran out: nothing was heard of the site" };
	json_auto_t *tasks = NULL;

	if (task_list_expired(tx, engine_now(engine), &tasks, error))
		return -1;
	return fail_each(engine, tx, tasks, &fault, error);
}

static int fail_orphans(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	const struct task_fault fault = { .reason = "the site was removed", .for_good = true };
	json_auto_t *tasks = NULL;

	if (task_list_orphaned(tx, &tasks, error))
		return -1;
	return fail_each(engine, tx, tasks, &fault, error);
}

/* Tasks that have rested: their sites may have them again. */
static int end_rests(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *tasks = NULL;
	size_t i;
	json_t *task;

	if (task_list_rested(tx, engine_now(engine), &tasks, error))
		return -1;
	json_array_foreach (tasks, i, task)
		if (task_end_rest(tx, json_text_or(task, "id", ""), error) ||
			wake_site(engine, tx, json_text_or(task, "site", ""), error))
			return -1;
	return 0;
}

static int fire_timers(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *timers = NULL;
	size_t i;
	json_t *timer;

	if (timer_list_due(tx, engine_now(engine), &timers, error))
		return -1;
	json_array_foreach (timers, i, timer) {
		struct event event = { .kind = EVENT_TIMER, .timer = json_text_or(timer, "name", "") };

		if (timer_clear(tx, json_text_or(timer, "job", ""), event.timer, error) ||
			advance(engine, tx, json_text_or(timer, "job", ""), &event, error))
			return -1;
	}
	return 0;
}

static int resume_held(struct engine *engine, struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *jobs = NULL;
	size_t i;
	json_t *job;

	if (job_list_held(tx, &jobs, error))
		return -1;
	json_array_foreach (jobs, i, job) {
		json_auto_t *model = NULL;
		uint64_t size;

		if (blob_index_find(tx, json_text_or(job, "model", ""), &model, error))
			return -1;
		size = (uint64_t)json_integer_or(model, "size", 0);
		if (blobs_space(engine->options.blobs) >= 2 * size + SPACE_BESIDE &&
			job_resume_in(engine, tx, job, "there is space again", error))
			return -1;
	}
	return 0;
}

static int tick(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct engine *engine = argument;

	return expire_leases(engine, tx, error) || end_rests(engine, tx, error) || fail_orphans(engine, tx, error) ||
			       fire_timers(engine, tx, error) || resume_held(engine, tx, error) ||
			       schedule(engine, tx, error) || skip_called_off(engine, tx, error) ||
			       watch_silence(engine, tx, error)
		       ? -1
		       : 0;
}

static int next_due(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	int64_t *due = argument, lease, timer;

	if (task_next_due(tx, &lease, error) || timer_next(tx, &timer, error))
		return -1;
	*due = lease < timer ? lease : timer;
	return 0;
}

/* Until the next lease or timer, a kick, or a second: no lease is shorter, so that a new one needs no kick. */
static void wait_for_tick(struct engine *engine, int64_t until)
{
	int64_t pause = until - engine_now(engine);

	pthread_mutex_lock(&engine->lock);
	if (!engine->kicked && !engine->stopping)
		condition_wait(&engine->tick, &engine->lock, pause < TICK_US ? pause : TICK_US);
	engine->kicked = false;
	pthread_mutex_unlock(&engine->lock);
}

static bool is_stopping(struct engine *engine)
{
	bool stopping;

	pthread_mutex_lock(&engine->lock);
	stopping = engine->stopping;
	pthread_mutex_unlock(&engine->lock);
	return stopping;
}

int tick_once(struct engine *engine, int64_t *due, struct rounds_error *error)
{
	int failed = store_write(engine->options.store, tick, engine, error) ||
		     store_read(engine->options.store, next_due, due, error);

	settle_rivals(engine);
	if (failed || engine_now(engine) - engine->swept <= SWEEP_US)
		return failed ? -1 : 0;
	engine->swept = engine_now(engine);
	return sweep(engine, error);
}

void *ticker_run(void *argument)
{
	struct engine *engine = argument;

	while (!is_stopping(engine)) {
		struct rounds_error error = { 0 };
		int64_t due;
		bool failed = tick_once(engine, &due, &error);

		if (failed)
			log_error(
				"the engine could not take its turn; it tries again", "reason", error.message, NULL);
		wait_for_tick(engine, failed ? engine_now(engine) + TICK_US : due);
	}
	return NULL;
}
