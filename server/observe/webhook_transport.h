/*
 * How a webhook's messages travel: many at a time, none waiting for another. webhooks.c knows no more of it than this struct of
 * functions, so that a test can be the receivers, and their answers a matter of its clock. All but `wake` are of one thread.
 */
#ifndef ROUNDS_SERVER_OBSERVE_WEBHOOK_TRANSPORT_H
#define ROUNDS_SERVER_OBSERVE_WEBHOOK_TRANSPORT_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

/* A POST. Everything is copied. */
struct webhook_message {
	const char *url, *body;
	const char *const *headers; /* "Name: value", ending in NULL */
};

struct webhook_answer {
	void *receiver;      /* as it was sent with */
	long status;         /* of HTTP; 0: there was none */
	int64_t retry_after; /* seconds, where the receiver asks for a pause; 0 */
	char fault[300];     /* why there was no answer; empty: there was one */
};

struct webhook_transport {
	/* The answer comes with this `receiver`, which has one message under way at most. */
	int (*send)(struct webhook_transport *transport, void *receiver, const struct webhook_message *message,
		struct rounds_error *error);
	/* Its message is given up, if it has one: no answer comes. */
	void (*cancel)(struct webhook_transport *transport, void *receiver);
	/* False: there is no answer that was not taken yet. */
	bool (*answer)(struct webhook_transport *transport, struct webhook_answer *answer);
	/* Moves what is under way, and returns when there is an answer, when it is woken or after so long. */
	void (*wait)(struct webhook_transport *transport, int ms);
	/* From any thread; never blocks. */
	void (*wake)(struct webhook_transport *transport);
	void (*free)(struct webhook_transport *transport);
};

/* Once per process, before threads. */
void webhook_transport_global_init(void);

/* HTTP(S) by libcurl. `ca_file`: whose certificates receivers may have; NULL: the system's authorities. */
must_check int webhook_transport_new(
	const char *ca_file, struct webhook_transport **transport, struct rounds_error *error);

#endif
