#include "server/observe/webhooks.h"

#include "common/json.h"
#include "common/log.h"
#include "common/random.h"
#include "common/text.h"
#include "common/uuid.h"
#include "server/observe/webhook_parts.h"
#include "server/store/webhooks.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
	PAUSE_MS = 200, /* between two looks at the store */
	IDLE_MS = 60000,
	CONNECT_SECONDS = 10,
	ANSWER_SECONDS = 20,
	FIRST_RETRY_SECONDS = 5,
	LAST_RETRY_SECONDS = 3600,
	GIVE_UP_SECONDS = 3 * 86400,
	ANSWER_BYTES = 64 * 1024,
};

/* A receiver, and what is on its way to it. */
struct receiver {
	struct receiver *next;
	char id[UUID_TEXT_SIZE];
	int64_t seen;    /* no event that it wants is older and not taken */
	int64_t due;     /* nothing is tried before; steady time */
	int64_t failing; /* since when, wall time; 0: it takes all */
	int64_t failures;
	bool known; /* still in the store */
	bool ping;  /* asked for */
	CURL *easy; /* NULL: nothing is on its way */
	struct curl_slist *headers;
	char *body;
	size_t answered; /* bytes of its answer */
	int64_t event;   /* that is on its way; 0: a ping */
	char reason[CURL_ERROR_SIZE];
};

struct webhooks {
	struct store *store;
	struct world *world;
	char *ca_file;
	CURLM *multi;
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

void webhooks_global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

int webhooks_new(struct store *store, struct world *world, const char *ca_file, struct webhooks **out,
	struct rounds_error *error)
{
	struct webhooks *webhooks = calloc(1, sizeof(*webhooks));

	if (!webhooks)
		return error_no_memory(error);
	webhooks->store = store;
	webhooks->world = world;
	world_random(world, &webhooks->random, sizeof(webhooks->random));
	pthread_mutex_init(&webhooks->lock, NULL);
	webhooks->multi = curl_multi_init();
	webhooks->pings = json_object();
	webhooks->ca_file = ca_file ? strdup(ca_file) : NULL;
	if (!webhooks->multi || !webhooks->pings || (ca_file && !webhooks->ca_file)) {
		webhooks_free(webhooks);
		return error_no_memory(error);
	}
	*out = webhooks;
	return 0;
}

void webhooks_touch(struct webhooks *webhooks)
{
	if (!atomic_exchange(&webhooks->touched, true))
		curl_multi_wakeup(webhooks->multi);
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

/* What a receiver answers is not looked at, and not kept; one that has no end is left when its status is known. */
static size_t ignore(char *bytes, size_t one, size_t count, void *context)
{
	struct receiver *receiver = context;

	(void)bytes;
	receiver->answered += one * count;
	return receiver->answered > ANSWER_BYTES ? 0 : one * count;
}

static bool add_header(struct receiver *receiver, const char *name, const char *value)
{
	scoped(text_free) char *line = text_new("%s: %s", name, value);
	struct curl_slist *more = line ? curl_slist_append(receiver->headers, line) : NULL;

	receiver->headers = more ? more : receiver->headers;
	return more != NULL;
}

/* `id` is the event's number, the same at each try: by it receivers know what they have taken. */
static bool make_headers(struct webhooks *webhooks, struct receiver *receiver, const char *secret, const char *id)
{
	long long timestamp = world_wall_us(webhooks->world) / SECOND_US;
	char signature[WEBHOOK_SIGNATURE_SIZE], seconds[24];

	snprintf(seconds, sizeof(seconds), "%lld", timestamp);
	return !webhook_sign(secret, id, timestamp, receiver->body, signature) &&
	       add_header(receiver, "Content-Type", "application/json") && add_header(receiver, "webhook-id", id) &&
	       add_header(receiver, "webhook-timestamp", seconds) &&
	       add_header(receiver, "webhook-signature", signature) && add_header(receiver, "Expect", "");
}

static void let_go(struct webhooks *webhooks, struct receiver *receiver)
{
	if (receiver->easy) {
		curl_multi_remove_handle(webhooks->multi, receiver->easy);
		curl_easy_cleanup(receiver->easy);
	}
	curl_slist_free_all(receiver->headers);
	free(receiver->body);
	receiver->easy = NULL;
	receiver->headers = NULL;
	receiver->body = NULL;
}

static void set_options(struct webhooks *webhooks, struct receiver *receiver, const char *url)
{
	CURL *easy = receiver->easy;

	receiver->reason[0] = '\0';
	curl_easy_setopt(easy, CURLOPT_PRIVATE, receiver);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https,http");
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, receiver->body);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, receiver->headers);
	receiver->answered = 0;
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, receiver);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, receiver->reason);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long)ANSWER_SECONDS);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "rounds-server/" ROUNDS_VERSION);
	if (webhooks->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, webhooks->ca_file);
}

/* `event` NULL: a ping. */
static void send_event(struct webhooks *webhooks, struct receiver *receiver, const json_t *row, const json_t *event)
{
	json_auto_t *message = NULL;
	char id[UUID_TEXT_SIZE + 8], now[TIME_TEXT_SIZE];

	time_format(world_wall_us(webhooks->world), now);
	receiver->event = json_integer_or(event, "id", 0);
	if (event)
		snprintf(id, sizeof(id), "event-%lld", (long long)receiver->event);
	else
		uuid_new(webhooks->world, id);
	message = json_pack("{s:s, s:s, s:O?}", "type", event ? json_text_or(event, "kind", "") : "ping", "timestamp",
		event ? json_text_or(event, "time", "") : now, "data", event);
	receiver->body = message ? json_dumps(message, JSON_COMPACT) : NULL;
	receiver->easy = receiver->body ? curl_easy_init() : NULL;
	if (receiver->easy && make_headers(webhooks, receiver, json_text_or(row, "secret", ""), id)) {
		set_options(webhooks, receiver, json_text_or(row, "url", ""));
		if (curl_multi_add_handle(webhooks->multi, receiver->easy) == CURLM_OK)
			return;
	}
	let_go(webhooks, receiver); /* no memory: tried again with the next look */
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
	if (receiver->easy)
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
		let_go(webhooks, receiver);
		*link = receiver->next;
		free(receiver);
	}
}

static int store_try(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return webhook_tried(tx, argument, error);
}

/* Twice as long each time, and a little more or less, so that many do not come back together. */
static int64_t pause_after(struct webhooks *webhooks, int64_t failures, curl_off_t asked_for)
{
	int64_t seconds = FIRST_RETRY_SECONDS;

	while (failures-- > 0 && seconds < LAST_RETRY_SECONDS)
		seconds *= 2;
	if (seconds < asked_for)
		seconds = (int64_t)asked_for;
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

static void finish(struct webhooks *webhooks, struct receiver *receiver, CURLcode code)
{
	struct webhook_try tried = { .id = receiver->id, .counts = receiver->event != 0 };
	struct rounds_error error = { 0 };
	char fault[CURL_ERROR_SIZE + 40];
	curl_off_t asked_for = 0;
	bool answered = code == CURLE_OK || receiver->answered > ANSWER_BYTES;
	long status = 0;

	curl_easy_getinfo(receiver->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(receiver->easy, CURLINFO_RETRY_AFTER, &asked_for);
	tried.status = status;
	if (answered && status >= 200 && status < 300) {
		tried.place = receiver->seen = receiver->event ? receiver->event : receiver->seen;
		atomic_fetch_add(&webhooks->taken, 1);
	} else {
		if (answered)
			snprintf(fault, sizeof(fault), "answered with status %ld", status);
		else
			snprintf(fault, sizeof(fault), "%s",
				receiver->reason[0] ? receiver->reason : curl_easy_strerror(code));
		tried.fault = fault;
		tried.give_up = tried.counts ? why_give_up(webhooks, receiver, status) : NULL;
		if (tried.counts)
			receiver->due = world_steady_us(webhooks->world) +
					pause_after(webhooks, receiver->failures, asked_for);
		atomic_fetch_add(&webhooks->refused, 1);
		log_warn("webhook failed", "webhook", receiver->id, "reason", fault, NULL);
	}
	let_go(webhooks, receiver);
	/* Not stored: the event is sent once more. */
	if (store_write(webhooks->store, store_try, &tried, &error))
		log_warn("cannot store a webhook's state", "reason", error.message, NULL);
}

static bool collect(struct webhooks *webhooks)
{
	bool any = false;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(webhooks->multi, &left))) {
		struct receiver *receiver = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&receiver);
		finish(webhooks, receiver, message->data.result);
		any = true;
	}
	return any;
}

/* Until the next look: soon if there was a touch, else when a receiver is due. */
static int wait_ms(const struct webhooks *webhooks, int64_t now)
{
	int64_t until = now + IDLE_MS * 1000;

	if (atomic_load(&webhooks->touched))
		until = webhooks->next_look;
	for (const struct receiver *receiver = webhooks->receivers; receiver; receiver = receiver->next)
		if (!receiver->easy && receiver->due > now && receiver->due < until)
			until = receiver->due;
	return until <= now ? 0 : (int)((until - now) / 1000 + 1);
}

static bool any_due(const struct webhooks *webhooks, int64_t now)
{
	for (const struct receiver *receiver = webhooks->receivers; receiver; receiver = receiver->next)
		if (!receiver->easy && receiver->due && receiver->due <= now)
			return true;
	return false;
}

static void turn(struct webhooks *webhooks)
{
	struct rounds_error error = { 0 };
	int64_t now = world_steady_us(webhooks->world);
	int running;

	if ((atomic_load(&webhooks->touched) && now >= webhooks->next_look) || any_due(webhooks, now)) {
		atomic_store(&webhooks->touched, false);
		webhooks->next_look = now + PAUSE_MS * 1000;
		if (store_read(webhooks->store, look, webhooks, &error))
			log_warn("cannot look for webhooks", "reason", error.message, NULL);
		else
			forget_removed(webhooks);
	}
	curl_multi_perform(webhooks->multi, &running);
	if (collect(webhooks)) {
		webhooks->next_look = 0;
		atomic_store(&webhooks->touched, true);
	}
	curl_multi_poll(webhooks->multi, NULL, 0, wait_ms(webhooks, world_steady_us(webhooks->world)), NULL);
}

static void *run(void *context)
{
	struct webhooks *webhooks = context;

	while (!atomic_load(&webhooks->stopping))
		turn(webhooks);
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
	curl_multi_wakeup(webhooks->multi);
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
		let_go(webhooks, receiver);
		free(receiver);
	}
	if (webhooks->multi)
		curl_multi_cleanup(webhooks->multi);
	json_decref(webhooks->pings);
	pthread_mutex_destroy(&webhooks->lock);
	free(webhooks->ca_file);
	free(webhooks);
}
