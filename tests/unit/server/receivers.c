/* The receivers of webhooks: each takes a while, and some answers are lost. */
#include "tests/unit/server/federation.h"

static struct federation *of_transport(struct webhook_transport *transport)
{
	return (struct federation *)((char *)transport - offsetof(struct federation, transport));
}

static int post_send(struct webhook_transport *transport, void *receiver, const struct webhook_message *message,
	struct rounds_error *error)
{
	struct federation *f = of_transport(transport);
	size_t to = (size_t)(message->url[strlen(message->url) - 1] - '0');
	struct letter *letter = &f->letters[to];

	assert_null(letter->receiver); /* one at a time */
	*letter = (struct letter){ receiver, f->now + between(f, SECOND_US / 10, 5 * SECOND_US), 0, 200, to };
	assert_int_equal(sscanf(message->headers[1], "webhook-id: event-%ld", &letter->event), 1);
	if (f->outage || throw_dice(f, 20) == 0)
		letter->status = throw_dice(f, 2) ? 503 : 0;
	return 0;
}

static void post_cancel(struct webhook_transport *transport, void *receiver)
{
	struct federation *f = of_transport(transport);

	for (size_t i = 0; i < RECEIVERS; i++)
		if (f->letters[i].receiver == receiver)
			f->letters[i].receiver = NULL;
}

static void take_event(struct federation *f, const struct letter *letter)
{
	assert_in_range(letter->event, 1, EVENTS_MAX - 1);
	assert_true(letter->event >= f->last_told[letter->to]); /* in order; the last one again after a crash */
	f->last_told[letter->to] = letter->event;
	f->told[letter->to][letter->event]++;
}

static bool post_answer(struct webhook_transport *transport, struct webhook_answer *answer)
{
	struct federation *f = of_transport(transport);

	for (size_t i = 0; i < RECEIVERS; i++) {
		struct letter *letter = &f->letters[i];

		if (!letter->receiver || letter->answered > f->now)
			continue;
		*answer = (struct webhook_answer){ .receiver = letter->receiver, .status = letter->status };
		if (!letter->status)
			strcpy(answer->fault, "nobody answers");
		if (letter->status == 200)
			take_event(f, letter);
		letter->receiver = NULL;
		return true;
	}
	return false;
}

static void post_wait(struct webhook_transport *transport, int ms)
{
	struct federation *f = of_transport(transport);

	/* A minute: there is nothing to wait for that it knows of, or something later. */
	f->webhooks_due = f->now + (ms < 60000 ? ms * INT64_C(1000) : LOOK_US);
	for (size_t i = 0; i < RECEIVERS; i++)
		if (f->letters[i].receiver && f->letters[i].answered < f->webhooks_due)
			f->webhooks_due = f->letters[i].answered;
}

static void post_nothing(struct webhook_transport *transport) {}

void receivers_begin(struct federation *f)
{
	memset(f->letters, 0, sizeof(f->letters));
	f->transport = (struct webhook_transport){ post_send, post_cancel, post_answer, post_wait, post_nothing,
		post_nothing };
}
