#include "server/observe/webhooks.h"

#include "common/json.h"
#include "common/log.h"
#include "common/random.h"
#include "common/text.h"
#include "common/uuid.h"
#include "server/observe/webhook_parts.h"
#include "server/store/webhooks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
	PAUSE_MS = 200, /* between two looks at the store */
	IDLE_MS = 60000,
	FIRST_RETRY_SECONDS = 5,
	LAST_RETRY_SECONDS = 3600,
	GIVE_UP_SECONDS = 3 * 86400,
};

/* A receiver, and what is on its way to it. */
struct receiver {
	struct receiver *next;
	char id[UUID_TEXT_SIZE];
	int64_t seen;    /* no event that it wants is older and not taken */
	int64_t due;     /* nothing is tried before; steady time */
	int64_t failing; /* since when, wall time; 0: it takes all */
	int64_t failures;
	bool known;    /* still in the store */
	bool ping;     /* asked for */
	bool busy;     /* something is on its way */
	int64_t event; /* that is on its way; 0: a ping */
};

struct webhooks {
	struct store *store;
	struct world *world;
	struct webhook_transport *transport;
	pthread_t thread;
	bool runs;
	atomic_bool stopping, touched;
	pthread_mutex_t lock; /* of pings */
	json_t *pings;        /* {id: null}: asked for */
	atomic_uint_fast64_t taken, refused;
	uint64_t random;
	struct receiver *receivers; /* of the thread alone, as all below */
	int64_t next_look;
};

int webhooks_new(struct store *store, struct world *world, struct webhook_transport *transport, struct webhooks **out,
	struct rounds_error *error)
{
	struct webhooks *webhooks = calloc(1, sizeof(*webhooks));

	if (!webhooks) {
		transport->free(transport);
		return error_no_memory(error);
	}
	webhooks->store = store;
	webhooks->world = world;
	world_random(world, &webhooks->random, sizeof(webhooks->random));
	pthread_mutex_init(&webhooks->lock, NULL);
	webhooks->transport = transport;
	webhooks->pings = json_object();
	if (!webhooks->pings) {
		webhooks_free(webhooks);
		return error_no_memory(error);
	}
	*out = webhooks;
	return 0;
}

void webhooks_touch(struct webhooks *webhooks)
{
	if (!atomic_exchange(&webhooks->touched, true))
		webhooks->transport->wake(webhooks->transport);
}

int webhooks_ping(struct webhooks *webhooks, const char *id, struct rounds_error *error)
{
	int failed;

	pthread_mutex_lock(&webhooks->lock);
	failed = json_object_set_new(webhooks->pings, id, json_null());
	pthread_mutex_unlock(&webhooks->lock);
	webhooks_touch(webhooks);
	return failed ? error_no_memory(error) : 0;
}

void webhook_counters(struct webhooks *webhooks, struct webhook_counters *counters)
{
	counters->taken = atomic_load(&webhooks->taken);
	counters->refused = atomic_load(&webhooks->refused);
}

/* `id` is the event's number, the same at each try: by it receivers know what they have taken. */
static int post(struct webhooks *webhooks, struct receiver *receiver, const json_t *row, const char *id,
	const char *body, struct rounds_error *error)
{
	int64_t timestamp = world_wall_us(webhooks->world) / SECOND_US;
	char signature[WEBHOOK_SIGNATURE_SIZE];
	char id_line[80], time_line[60], signature_line[WEBHOOK_SIGNATURE_SIZE + 30];
	const char *const headers[] = { "Content-Type: application/json", id_line, time_line, signature_line,
		"Expect:", NULL };
	const struct webhook_message message = { json_text_or(row, "url", ""), body, headers };

	if (webhook_sign(json_text_or(row, "secret", ""), id, timestamp, body, signature))
		return error_no_memory(error);
	snprintf(id_line, sizeof(id_line), "webhook-id: %s", id);
	snprintf(time_line, sizeof(time_line), "webhook-timestamp: %lld", (long long)timestamp);
	snprintf(signature_line, sizeof(signature_line), "webhook-signature: %s", signature);
	return webhooks->transport->send(webhooks->transport, receiver, &message, error);
}

/* `event` NULL: a ping. Where there is no memory for it, it is tried again with the next look. */
static void send_event(struct webhooks *webhooks, struct receiver *receiver, const json_t *row, const json_t *event)
{
	json_auto_t *message = NULL;
	scoped(text_free) char *body = NULL;
	struct rounds_error ignored;
	char id[UUID_TEXT_SIZE + 8], now[TIME_TEXT_SIZE];

	time_format(world_wall_us(webhooks->world), now);
	receiver->event = json_integer_or(event, "id", 0);
	if (event)
		snprintf(id, sizeof(id), "event-%lld", (long long)receiver->event);
	else
		uuid_new(webhooks->world, id);
	message = json_pack("{s:s, s:s, s:O?}", "type", event ? json_text_or(event, "kind", "") : "ping", "timestamp",
		event ? json_text_or(event, "time", "") : now, "data", event);
	body = message ? json_dumps(message, JSON_COMPACT) : NULL;
	receiver->busy = body && !post(webhooks, receiver, row, id, body, &ignored);
}

static struct receiver *have_receiver(struct webhooks *webhooks, const json_t *row)
{
	const char *id = json_text_or(row, "id", "");
	struct receiver *receiver = webhooks->receivers;

	while (receiver && strcmp(receiver->id, id) != 0)
		receiver = receiver->next;
	if (!receiver && (receiver = calloc(1, sizeof(*receiver)))) {
		snprintf(receiver->id, sizeof(receiver->id), "%s", id);
		receiver->next = webhooks->receivers;
		webhooks->receivers = receiver;
	}
	return receiver;
}

static bool wants_ping(struct webhooks *webhooks, const char *id)
{
	bool asked;

	pthread_mutex_lock(&webhooks->lock);
	asked = !json_object_del(webhooks->pings, id);
	pthread_mutex_unlock(&webhooks->lock);
	return asked;
}

/* One receiver's turn: a ping goes before events; one thing at a time. */
static int serve(
	struct webhooks *webhooks, struct store_tx *tx, const json_t *row, int64_t now, struct rounds_error *error)
{
	struct receiver *receiver = have_receiver(webhooks, row);
	int64_t place = json_integer_or(row, "place", 0), last = 0;
	json_auto_t *event = NULL;

	if (!receiver)
		return error_no_memory(error);
	receiver->known = true;
	receiver->ping |= wants_ping(webhooks, receiver->id);
	if (receiver->busy)
		return 0;
	if (receiver->ping) {
		receiver->ping = false;
		send_event(webhooks, receiver, row, NULL);
		return 0;
	}
	/* One that was made active again is tried at once; one whose failure could not be stored waits all the same. */
	if (receiver->failures > 0 && json_integer_or(row, "failures", 0) == 0)
		receiver->due = 0;
	receiver->failures = json_integer_or(row, "failures", 0);
	receiver->failing = json_integer_or(row, "failing_us", 0);
	if (receiver->due > now)
		return 0;
	receiver->due = 0;
	if (strcmp(json_text_or(row, "state", ""), "active") != 0)
		return 0;
	if (receiver->seen < place)
		receiver->seen = place;
	if (webhook_next_event(tx, receiver->seen, json_object_get(row, "kinds"), &event, &last, error))
		return -1;
	if (event)
		send_event(webhooks, receiver, row, event);
	else
		receiver->seen = last;
	return 0;
}

static int look(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct webhooks *webhooks = argument;
	json_auto_t *rows = NULL;
	int64_t now = world_steady_us(webhooks->world);
	size_t i;
	json_t *row;

	for (struct receiver *receiver = webhooks->receivers; receiver; receiver = receiver->next)
		receiver->known = false;
	if (webhook_list_to_serve(tx, &rows, error))
		return -1;
	json_array_foreach (rows, i, row)
		if (serve(webhooks, tx, row, now, error))
			return -1;
	return 0;
}

static void forget_removed(struct webhooks *webhooks)
{
	struct receiver **link = &webhooks->receivers;

	while (*link) {
		struct receiver *receiver = *link;

		if (receiver->known) {
			link = &receiver->next;
			continue;
		}
		webhooks->transport->cancel(webhooks->transport, receiver);
		*link = receiver->next;
		free(receiver);
	}
}

static int store_try(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return webhook_tried(tx, argument, error);
}

/* Twice as long each time, and a little more or less, so that many do not come back together. */
static int64_t pause_after(struct webhooks *webhooks, int64_t failures, int64_t asked_for)
{
	int64_t seconds = FIRST_RETRY_SECONDS;

	while (failures-- > 0 && seconds < LAST_RETRY_SECONDS)
		seconds *= 2;
	if (seconds < asked_for)
		seconds = asked_for;
	if (seconds > LAST_RETRY_SECONDS)
		seconds = LAST_RETRY_SECONDS;
	return (int64_t)((double)(seconds * SECOND_US) * (0.8 + 0.4 * random_unit(&webhooks->random)));
}

static const char *why_give_up(struct webhooks *webhooks, const struct receiver *receiver, long status)
{
	if (status == 410)
		return "the receiver answered 410 Gone";
	if (receiver->failing && world_wall_us(webhooks->world) - receiver->failing > GIVE_UP_SECONDS * SECOND_US)
		return "three days without success";
	return NULL;
}

static void finish(struct webhooks *webhooks, struct receiver *receiver, const struct webhook_answer *answer)
{
	struct webhook_try tried = { .id = receiver->id, .counts = receiver->event != 0, .status = answer->status };
	struct rounds_error error = { 0 };
	char fault[sizeof(answer->fault)];

	receiver->busy = false;
	if (!answer->fault[0] && answer->status >= 200 && answer->status < 300) {
		tried.place = receiver->seen = receiver->event ? receiver->event : receiver->seen;
		atomic_fetch_add(&webhooks->taken, 1);
	} else {
		snprintf(fault, sizeof(fault), "%s", answer->fault);
		if (!fault[0])
			snprintf(fault, sizeof(fault), "answered with status %ld", answer->status);
		tried.fault = fault;
		tried.give_up = tried.counts ? why_give_up(webhooks, receiver, answer->status) : NULL;
		if (tried.counts)
			receiver->due = world_steady_us(webhooks->world) +
					pause_after(webhooks, receiver->failures, answer->retry_after);
		atomic_fetch_add(&webhooks->refused, 1);
		log_warn("webhook failed", "webhook", receiver->id, "reason", fault, NULL);
	}
	/* Not stored: the event is sent once more. */
	if (store_write(webhooks->store, store_try, &tried, &error))
		log_warn("cannot store a webhook's state", "reason", error.message, NULL);
}

static bool collect(struct webhooks *webhooks)
{
	struct webhook_answer answer;
	bool any = false;

	for (; webhooks->transport->answer(webhooks->transport, &answer); any = true)
		finish(webhooks, answer.receiver, &answer);
	return any;
}

/* Until the next look: soon if there was a touch, else when a receiver is due. */
static int wait_ms(const struct webhooks *webhooks, int64_t now)
{
	int64_t until = now + IDLE_MS * 1000;

	if (atomic_load(&webhooks->touched))
		until = webhooks->next_look;
	for (const struct receiver *receiver = webhooks->receivers; receiver; receiver = receiver->next)
		if (!receiver->busy && receiver->due > now && receiver->due < until)
			until = receiver->due;
	return until <= now ? 0 : (int)((until - now) / 1000 + 1);
}

static bool any_due(const struct webhooks *webhooks, int64_t now)
{
	for (const struct receiver *receiver = webhooks->receivers; receiver; receiver = receiver->next)
		if (!receiver->busy && receiver->due && receiver->due <= now)
			return true;
	return false;
}

void webhooks_turn(struct webhooks *webhooks)
{
	struct rounds_error error = { 0 };
	int64_t now = world_steady_us(webhooks->world);

	if ((atomic_load(&webhooks->touched) && now >= webhooks->next_look) || any_due(webhooks, now)) {
		atomic_store(&webhooks->touched, false);
		webhooks->next_look = now + PAUSE_MS * 1000;
		if (store_read(webhooks->store, look, webhooks, &error))
			log_warn("cannot look for webhooks", "reason", error.message, NULL);
		else
			forget_removed(webhooks);
	}
	webhooks->transport->wait(webhooks->transport, wait_ms(webhooks, world_steady_us(webhooks->world)));
	if (collect(webhooks)) {
		webhooks->next_look = 0;
		atomic_store(&webhooks->touched, true);
	}
}

static void *run(void *context)
{
	struct webhooks *webhooks = context;

	while (!atomic_load(&webhooks->stopping))
		webhooks_turn(webhooks);
	return NULL;
}

int webhooks_start(struct webhooks *webhooks, struct rounds_error *error)
{
	atomic_store(&webhooks->touched, true);
	if (pthread_create(&webhooks->thread, NULL, run, webhooks))
		return error_no_memory(error);
	webhooks->runs = true;
	return 0;
}

void webhooks_stop(struct webhooks *webhooks)
{
	if (!webhooks || !webhooks->runs)
		return;
	atomic_store(&webhooks->stopping, true);
	webhooks->transport->wake(webhooks->transport);
	pthread_join(webhooks->thread, NULL);
	webhooks->runs = false;
}

void webhooks_free(struct webhooks *webhooks)
{
	if (!webhooks)
		return;
	while (webhooks->receivers) {
		struct receiver *receiver = webhooks->receivers;

		webhooks->receivers = receiver->next;
		free(receiver);
	}
	webhooks->transport->free(webhooks->transport);
	json_decref(webhooks->pings);
	pthread_mutex_destroy(&webhooks->lock);
	free(webhooks);
}
