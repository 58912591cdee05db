/* The pool that runs handlers, and the requests that sleep until they are woken. */
#include "server/http/request.h"

#include "common/clock.h"
#include "common/condition.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>

static unsigned bucket_of(const char *key)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *key; key++)
		hash = (hash ^ (unsigned char)*key) * 16777619u;
	return hash % WAIT_BUCKETS;
}

static void queue_locked(struct http *http, struct request *request)
{
	request->next_queued = NULL;
	if (http->last)
		http->last->next_queued = request;
	else
		http->first = request;
	http->last = request;
	pthread_cond_signal(&http->work);
}

static void disarm_locked(struct http *http, struct request *request)
{
	if (!request->armed)
		return;
	request->armed = false;
	if (request->prev_waiting)
		request->prev_waiting->next_waiting = request->next_waiting;
	else
		http->waiting[bucket_of(request->key)] = request->next_waiting;
	if (request->next_waiting)
		request->next_waiting->prev_waiting = request->prev_waiting;
	http->waiting_count--;
}

/* Out of the list of sleepers, and to the workers. */
static void rouse_locked(struct http *http, struct request *request)
{
	if (request->prev_timed)
		request->prev_timed->next_timed = request->next_timed;
	else
		http->timed_first = request->next_timed;
	if (request->next_timed)
		request->next_timed->prev_timed = request->prev_timed;
	else
		http->timed_last = request->prev_timed;
	request->asleep = false;
	disarm_locked(http, request);
	queue_locked(http, request);
}

bool request_wait(struct request *request, const char *key, int64_t seconds)
{
	struct http *http = request->http;
	int64_t now = clock_steady_us();
	unsigned bucket;
	bool in_time;

	if (!request->give_up)
		request->give_up = now + seconds * SECOND_US;
	pthread_mutex_lock(&http->lock);
	disarm_locked(http, request);
	in_time = now < request->give_up && !http->draining;
	request->has_waited = !in_time;
	if (in_time) {
		snprintf(request->key, sizeof(request->key), "%s", key);
		bucket = bucket_of(request->key);
		request->prev_waiting = NULL;
		request->next_waiting = http->waiting[bucket];
		if (request->next_waiting)
			request->next_waiting->prev_waiting = request;
		http->waiting[bucket] = request;
		request->armed = true;
		request->woken = false;
		http->waiting_count++;
	}
	pthread_mutex_unlock(&http->lock);
	return in_time;
}

/*
 * Sleepers are kept in the order of their time. Most waits have one length, so the place is found at the end at
 * once.
 */
static void sleep_locked(struct http *http, struct request *request)
{
	struct request *after = http->timed_last;

	while (after && after->give_up > request->give_up)
		after = after->prev_timed;
	request->prev_timed = after;
	request->next_timed = after ? after->next_timed : http->timed_first;
	if (request->next_timed)
		request->next_timed->prev_timed = request;
	else
		http->timed_last = request;
	if (after)
		after->next_timed = request;
	else
		http->timed_first = request;
	request->asleep = true;
	if (http->timed_first == request)
		pthread_cond_signal(&http->time);
}

static void settle(struct http *http, struct request *request, enum outcome outcome)
{
	pthread_mutex_lock(&http->lock);
	if (outcome == REPLIED) {
		disarm_locked(http, request);
		request->stage = STAGE_REPLIED;
	} else if (request->woken || http->draining || !request->armed) {
		disarm_locked(http, request);
		queue_locked(http, request);
	} else {
		sleep_locked(http, request);
	}
	pthread_mutex_unlock(&http->lock);
	if (outcome == REPLIED)
		MHD_resume_connection(request->connection);
}

void http_wake(void *context, const char *key)
{
	struct http *http = context;
	struct request *request, *next;

	pthread_mutex_lock(&http->lock);
	for (request = http->waiting[bucket_of(key)]; request; request = next) {
		next = request->next_waiting;
		if (strcmp(request->key, key))
			continue;
		if (request->asleep)
			rouse_locked(http, request);
		else
			request->woken = true;
	}
	pthread_mutex_unlock(&http->lock);
}

uint64_t http_waiting(struct http *http)
{
	uint64_t count;

	pthread_mutex_lock(&http->lock);
	count = http->waiting_count;
	pthread_mutex_unlock(&http->lock);
	return count;
}

void http_drain(struct http *http)
{
	pthread_mutex_lock(&http->lock);
	http->draining = true;
	while (http->timed_first)
		rouse_locked(http, http->timed_first);
	pthread_mutex_unlock(&http->lock);
	http_wake_streams(http);
}

void workers_count(struct http *http, int change)
{
	pthread_mutex_lock(&http->lock);
	http->in_flight = (uint64_t)((int64_t)http->in_flight + change);
	pthread_mutex_unlock(&http->lock);
}

uint64_t workers_in_flight(struct http *http)
{
	uint64_t count;

	pthread_mutex_lock(&http->lock);
	count = http->in_flight;
	pthread_mutex_unlock(&http->lock);
	return count;
}

bool workers_hand(struct http *http, struct request *request)
{
	bool taken;

	pthread_mutex_lock(&http->lock);
	taken = !http->stopping;
	if (taken) {
		MHD_suspend_connection(request->connection);
		queue_locked(http, request);
	}
	pthread_mutex_unlock(&http->lock);
	return taken;
}

static void *work(void *argument)
{
	struct http *http = argument;

	for (;;) {
		struct request *request;

		pthread_mutex_lock(&http->lock);
		while (!http->first && !http->stopping)
			pthread_cond_wait(&http->work, &http->lock);
		request = http->first;
		if (request)
			http->first = request->next_queued;
		if (!http->first)
			http->last = NULL;
		pthread_mutex_unlock(&http->lock);
		if (!request)
			return NULL;
		settle(http, request, http->options.door(request, http->options.app));
	}
}

static void *keep_time(void *argument)
{
	struct http *http = argument;

	pthread_mutex_lock(&http->lock);
	while (!http->stopping) {
		int64_t now = clock_steady_us();
		int64_t wake = now + 3600 * SECOND_US;

		while (http->timed_first && http->timed_first->give_up <= now)
			rouse_locked(http, http->timed_first);
		if (http->timed_first)
			wake = http->timed_first->give_up;
		condition_wait(&http->time, &http->lock, wake - now);
	}
	pthread_mutex_unlock(&http->lock);
	return NULL;
}

void workers_init(struct http *http)
{
	condition_init(&http->time);
	pthread_cond_init(&http->work, NULL);
	pthread_mutex_init(&http->lock, NULL);
}

void workers_destroy(struct http *http)
{
	pthread_cond_destroy(&http->time);
	pthread_cond_destroy(&http->work);
	pthread_mutex_destroy(&http->lock);
}

int workers_start(struct http *http, struct rounds_error *error)
{
	http->workers = calloc(http->options.workers, sizeof(pthread_t));
	if (!http->workers)
		return error_no_memory(error);
	for (unsigned i = 0; i < http->options.workers; i++) {
		if (pthread_create(&http->workers[i], NULL, work, http))
			return error_set(error, ERROR_UNAVAILABLE, "cannot start a worker thread");
		http->worker_count++;
	}
	if (pthread_create(&http->timer, NULL, keep_time, http))
		return error_set(error, ERROR_UNAVAILABLE, "cannot start the timer thread");
	http->timer_runs = true;
	return 0;
}

/* Workers empty the queue before they end. */
void workers_stop(struct http *http)
{
	pthread_mutex_lock(&http->lock);
	http->stopping = true;
	pthread_cond_broadcast(&http->work);
	pthread_cond_broadcast(&http->time);
	pthread_mutex_unlock(&http->lock);
	for (unsigned i = 0; i < http->worker_count; i++)
		pthread_join(http->workers[i], NULL);
	if (http->timer_runs)
		pthread_join(http->timer, NULL);
	free(http->workers);
	http->workers = NULL;
}
