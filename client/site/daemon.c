#include "client/site/site.h"

#include "client/site/cache.h"
#include "client/site/keys.h"
#include "client/site/order.h"
#include "client/site/renew.h"
#include "client/site/settings.h"
#include "client/site/work.h"
#include "common/condition.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	POLL_SECONDS = 30,
	TELLING_SECONDS = 2, /* how long a claim waits while there soon is more to tell of the tables */
	IDLE_SECONDS = 60,
	BEAT_MS = 15000,        /* what a heartbeat may take: as long as that a program at work is not looked after */
	ANSWER_LIMIT = 8 << 20, /* bytes of an answer in JSON: a task with its parameters and a small model */
	STOP_MS = 1000          /* what a farewell may take */
};

bool site_stopping(const struct site *site)
{
	return atomic_load(site->stop);
}

int site_protocol(const struct site *site)
{
	return atomic_load(&site->protocol);
}

void site_note_draining(struct site *site, const json_t *answer)
{
	bool drains = json_bool_or(answer, "draining", false);

	if (atomic_exchange(&site->drains, drains) == drains)
		return;
	if (drains)
		log_warn(
			"drained by the operator: this site takes part in no new job; those that it is in go on, unless they are called off",
			NULL);
	else
		log_info("drained no more: this site takes part in new jobs again", NULL);
}

int site_connect(const struct site *site, const atomic_bool *stop, long patience_ms, struct connection **connection,
	struct rounds_error *error)
{
	struct connection_options options = {
		.url = site->url,
		.ca_file = site->ca_path,
		.cert_file = site->cert_path,
		.key_file = site->key_path,
		.proxy = json_text_or(site->settings, "proxy", NULL),
		.stop = stop,
		.patience_ms = patience_ms,
		.answer_limit = ANSWER_LIMIT,
	};

	return connection_new(&options, connection, error);
}

/* Waits for an order; a kept executor that has nothing to do for a minute ends. */
static json_t *next_order(struct slot *slot)
{
	struct site *site = slot->site;
	json_t *order = NULL;

	pthread_mutex_lock(&site->lock);
	while (!slot->order && !site_stopping(site)) {
		if (condition_wait(&site->changed, &site->lock, IDLE_SECONDS * SECOND_US) && slot->executor) {
			pthread_mutex_unlock(&site->lock);
			executor_free(slot->executor);
			slot->executor = NULL;
			pthread_mutex_lock(&site->lock);
		}
	}
	if (!site_stopping(site))
		order = slot->order;
	pthread_mutex_unlock(&site->lock);
	return order;
}

static void *slot_run(void *argument)
{
	struct slot *slot = argument;
	struct site *site = slot->site;
	json_t *order;

	while ((order = next_order(slot))) {
		work_do(slot, order);
		pthread_mutex_lock(&site->lock);
		json_decref(slot->order);
		slot->order = NULL;
		pthread_cond_broadcast(&site->changed);
		pthread_mutex_unlock(&site->lock);
	}
	executor_free(slot->executor);
	slot->executor = NULL;
	return NULL;
}

/* Waits for a slot without an order; NULL when the daemon stops. */
static struct slot *free_slot(struct site *site)
{
	struct slot *found = NULL;

	pthread_mutex_lock(&site->lock);
	while (!found && !site_stopping(site)) {
		for (size_t i = 0; !found && i < site->slot_count; i++)
			if (!site->slots[i].order)
				found = &site->slots[i];
		if (found)
			break;
		condition_wait(&site->changed, &site->lock, SECOND_US); /* a signal does not wake a condition */
	}
	pthread_mutex_unlock(&site->lock);
	return found;
}

static void give_order(struct slot *slot, json_t *order)
{
	struct site *site = slot->site;

	pthread_mutex_lock(&site->lock);
	slot->order = order;
	pthread_cond_broadcast(&site->changed);
	pthread_mutex_unlock(&site->lock);
}

static json_t *names_of(const json_t *map)
{
	json_t *names = json_array();
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)map, name, value)
		json_array_append_new(names, json_string(name));
	return names;
}

/* What this site works on or has results of. */
static json_t *holding(struct site *site)
{
	json_t *held = json_array();
	json_auto_t *kept = spool_list(site->spool);
	size_t i;
	json_t *entry;

	pthread_mutex_lock(&site->lock);
	for (size_t j = 0; j < site->slot_count; j++) {
		const json_t *order = site->slots[j].order;

		if (order)
			json_array_append_new(
				held, json_string(json_text_or(order, "id", json_text_or(order, "task", ""))));
	}
	pthread_mutex_unlock(&site->lock);
	json_array_foreach (kept, i, entry)
		json_array_append_new(held, json_string(json_text_or(entry, "task", "")));
	return held;
}

static json_t *claim_body(struct site *site)
{
	json_t *body = json_pack("{s:i, s:s, s:O, s:o, s:o, s:o}", "protocol", site_protocol(site), "version",
		ROUNDS_VERSION, "slots", json_object_get(site->settings, "slots"), "datasets",
		names_of(json_object_get(site->settings, "datasets")), "executors",
		names_of(json_object_get(site->settings, "executors")), "holding", holding(site));

	if (body && site_protocol(site) > 1) {
		json_auto_t *told = telling_told(site->telling);

		json_object_set_new(body, "instance", json_string(site->instance));
		json_object_set(body, "keys", site->statements);
		if (told)
			json_object_set(body, "tables", told);
	}
	return body;
}

/* Results of an earlier run go out before new work comes in. */
static void deliver_kept(struct site *site)
{
	json_auto_t *kept = spool_list(site->spool);
	size_t i;
	json_t *entry;

	json_array_foreach (kept, i, entry) {
		struct slot *slot;

		if (!spool_check(site->spool, entry)) {
			log_warn("a kept result is damaged; its task is done again", "task",
				json_text_or(entry, "task", ""), NULL);
			spool_remove(site->spool, json_text_or(entry, "task", ""));
			continue;
		}
		if (!(slot = free_slot(site)))
			return;
		log_info("a kept result is delivered", "task", json_text_or(entry, "task", ""), NULL);
		give_order(slot, json_incref(entry));
	}
}

/*
 * An older server refuses the version, or what it does not know: it is asked in its own words, until it has been away and may
 * have come back as a newer one.
 */
static bool speaks_older(struct site *site, const struct rounds_error *error)
{
	bool refused = error->kind == ERROR_UPGRADE || error->kind == ERROR_INVALID;
	bool older = refused && site_protocol(site) > 1;

	if (older)
		log_info("the server speaks an older version of the protocol", NULL);
	if (older || !refused)
		atomic_store(&site->protocol, older ? 1 : PROTOCOL_VERSION);
	return older;
}

/* Two processes with one identity would take each other's work: the server lets the one go on that was there first. */
static void say_no_work(const struct site *site, const struct rounds_error *error)
{
	if (error->kind == ERROR_CONFLICT && !strcmp(error->field, "keys"))
		log_error("the server knows other keys of this site, so it gets no work", "site", site->name,
			"reason", error->message, NULL);
	else if (error->kind == ERROR_CONFLICT)
		log_error(
			"another rounds-site with this site's identity is at work, so this one waits: a state directory is "
			"for one machine; stop one of the two, or let this machine join under a name of its own",
			"site", site->name, "instance", site->instance, "reason", error->message, NULL);
	else
		log_warn("cannot get work; trying again", "reason", error->message, NULL);
}

/* Waits for a task: *task is a new reference to one that may be touched, or NULL. */
static int ask(struct site *site, struct connection *connection, json_t **task, struct rounds_error *error)
{
	/* Asked before what is told is taken: what comes in between is not left for half a minute. */
	long wait = telling_goes_on(site->telling) ? TELLING_SECONDS : POLL_SECONDS;
	json_auto_t *body = claim_body(site), *answer = NULL;
	json_t *order;
	char path[60];

	snprintf(path, sizeof(path), "/api/v1/tasks/claim?wait=%ld", wait);
	if (connection_call(connection, "POST", path, body, wait, &answer, error))
		return speaks_older(site, error) ? ask(site, connection, task, error) : -1;
	site_note_draining(site, answer);
	order = json_object_get(answer, "task");
	if (!order || json_is_null(order))
		return 0;
	if (order_check(order, error))
		return error_prefix(error, "the server's order is not touched, since its \"%s\"", error->field);
	*task = json_incref(order);
	return 0;
}

static void poll_once(struct site *site, struct connection *connection, struct slot *slot, struct backoff *backoff)
{
	struct rounds_error error = { 0 };
	json_t *task = NULL;

	if (ask(site, connection, &task, &error)) {
		if (site_stopping(site))
			return;
		say_no_work(site, &error);
		backoff_wait(backoff, site);
		return;
	}
	if (backoff->seconds > 0)
		log_info("the server answers again", NULL);
	backoff->seconds = 0;
	if (task)
		give_order(slot, task);
}

static void poll_for_work(struct site *site, struct connection *connection)
{
	struct backoff backoff = { 0 };
	struct slot *slot;
	int64_t next_renewal = 0;

	deliver_kept(site);
	while ((slot = free_slot(site))) {
		renew_in_time(site, connection, &next_renewal);
		poll_once(site, connection, slot, &backoff);
	}
}

static int start_slots(struct site *site, struct rounds_error *error)
{
	site->slot_count = (size_t)json_integer_or(site->settings, "slots", 1);
	site->slots = calloc(site->slot_count, sizeof(*site->slots));
	if (!site->slots)
		return error_no_memory(error);
	for (size_t i = 0; i < site->slot_count; i++) {
		struct slot *slot = &site->slots[i];

		slot->site = site;
		slot->number = i;
		if (site_connect(site, site->stop, 0, &slot->connection, error) ||
			site_connect(site, site->stop, BEAT_MS, &slot->beats, error))
			return -1;
		if (pthread_create(&slot->thread, NULL, slot_run, slot))
			return error_set(error, ERROR_UNAVAILABLE, "cannot start a thread");
		slot->runs = true;
	}
	return 0;
}

static void stop_slots(struct site *site)
{
	pthread_mutex_lock(&site->lock);
	pthread_cond_broadcast(&site->changed);
	pthread_mutex_unlock(&site->lock);
	for (size_t i = 0; site->slots && i < site->slot_count; i++) {
		struct slot *slot = &site->slots[i];

		if (slot->runs)
			pthread_join(slot->thread, NULL);
		connection_free(slot->connection);
		connection_free(slot->beats);
		json_decref(slot->order);
	}
	free(site->slots);
}

/* What claims tell of this site's keys; the secrets do not stay in memory. */
static int open_keys(struct site *site, struct rounds_error *error)
{
	scoped(own_keys) struct own_keys keys = { 0 };

	if (keys_open(site->settings, site->name, &keys, error))
		return -1;
	site->statements = keys_told(&keys);
	return site->statements ? 0 : error_no_memory(error);
}

static int open_state(struct site *site, struct rounds_error *error)
{
	const json_t *settings = site->settings;
	const char *url = json_text_or(settings, "server", NULL), *ca = json_text_or(settings, "ca_file", NULL);
	scoped(text_free) char *spool = state_path(settings, "spool");

	site->name = state_word(settings, "site.name");
	site->url = url ? strdup(url) : state_word(settings, "server");
	site->cert_path = state_path(settings, "site.pem");
	site->key_path = state_path(settings, "site.key");
	site->ca_path = ca ? strdup(ca) : state_path(settings, "ca.pem");
	site->work_directory = state_path(settings, "work");
	site->cache_directory = state_path(settings, "cache");
	site->own_directory = state_path(settings, "own");
	if (!site->name || !site->url || !site->cert_path || access(site->cert_path, R_OK))
		return error_set(error, ERROR_INVALID,
			"this site has not joined a server yet: ask its operator for an invitation and run "
			"`rounds-site join URL`");
	if (!spool || !site->key_path || !site->ca_path || !site->work_directory || !site->cache_directory ||
		!site->own_directory)
		return error_no_memory(error);
	directory_remove(site->work_directory);
	own_forget(site->own_directory, json_integer_or(settings, "own_days", 90));
	return directory_make(site->work_directory, 0700, error) ||
			       directory_make(site->cache_directory, 0700, error) ||
			       directory_make(site->own_directory, 0700, error) || open_keys(site, error) ||
			       spool_open(spool, &site->spool, error)
		       ? -1
		       : 0;
}

static void close_state(struct site *site)
{
	if (site->work_directory)
		directory_remove(site->work_directory);
	spool_free(site->spool);
	json_decref(site->statements);
	free(site->name);
	free(site->url);
	free(site->cert_path);
	free(site->key_path);
	free(site->ca_path);
	free(site->work_directory);
	free(site->cache_directory);
	free(site->own_directory);
}

static int lock_state(const struct site *site, int *lock, struct rounds_error *error)
{
	scoped(text_free) char *path = state_path(site->settings, "lock");

	if (!path)
		return error_no_memory(error);
	*lock = file_lock(path, error);
	return *lock < 0 ? error_prefix(error, "another rounds-site runs here") : 0;
}

/* So that the server need not wait to see that this site is away. */
static void say_farewell(const struct site *site)
{
	scoped(connection_free) struct connection *connection = NULL;
	struct rounds_error error = { 0 };

	if (site_connect(site, NULL, STOP_MS, &connection, &error) ||
		connection_call(connection, "POST", "/api/v1/tasks/leave", NULL, 3, NULL, &error))
		log_warn("could not say that this site stops", "reason", error.message, NULL);
}

int site_run(const json_t *settings, const atomic_bool *stop, struct rounds_error *error)
{
	struct site site = { .settings = settings, .stop = stop, .protocol = PROTOCOL_VERSION };
	scoped(connection_free) struct connection *connection = NULL;
	scoped(file_close) int lock = -1;
	int failed;

	uuid_new(world_real(), site.instance);
	pthread_mutex_init(&site.lock, NULL);
	condition_init(&site.changed);
	if (directory_make(json_text_or(settings, "state_dir", ""), 0700, error) ||
		directory_keep_private(json_text_or(settings, "state_dir", ""), error) ||
		lock_state(&site, &lock, error))
		return -1;
	failed = open_state(&site, error) || site_connect(&site, stop, 0, &connection, error) ||
		 start_slots(&site, error);
	if (!failed) {
		site.telling = telling_begin(settings);
		log_info("ready", "site", site.name, "server", site.url, "version", ROUNDS_VERSION, NULL);
		poll_for_work(&site, connection);
		log_info("stopping", NULL);
	}
	stop_slots(&site);
	if (!failed)
		say_farewell(&site);
	telling_end(site.telling);
	close_state(&site);
	return failed;
}
