/* What the files of the daemon share. One poller asks for work; each slot, a thread, does one task at a time. */
#ifndef ROUNDS_CLIENT_SITE_SITE_H
#define ROUNDS_CLIENT_SITE_SITE_H

#include "client/http.h"
#include "client/site/executor.h"
#include "client/site/spool.h"
#include "client/site/telling.h"
#include "common/protocol.h"
#include "common/uuid.h"

#include <pthread.h>

/* Waits longer with each call (half a second to half a minute, with jitter); false when the daemon stops. */
struct backoff {
	double seconds;
};

struct site {
	const json_t *settings;
	char *name;
	char *cert_path, *key_path, *ca_path, *url;
	char *work_directory, *cache_directory, *own_directory; /* own: what a job keeps at this site, by job */
	json_t *statements;                                     /* what is told of its keys (keys.h) */
	struct spool *spool;
	struct telling *telling; /* NULL: nothing is told of the tables */
	struct slot *slots;
	size_t slot_count;
	pthread_mutex_t lock;   /* of the slots' orders and of awaited_bytes */
	uint64_t awaited_bytes; /* of models that are being fetched */
	pthread_cond_t changed;
	const atomic_bool *stop;
	atomic_bool drains;            /* as the server said last */
	atomic_int protocol;           /* what is spoken with the server: ours, or an older one's */
	char instance[UUID_TEXT_SIZE]; /* of this process: two that share one identity are told apart by it */
};

struct slot {
	struct site *site;
	size_t number;
	pthread_t thread;
	bool runs;
	/* Guarded by site->lock. */
	json_t *order; /* a task, or a spool entry to deliver; NULL: idle */
	/* The thread's own. */
	struct connection *connection, *beats; /* beats: for heartbeats */
	struct executor *executor;             /* kept for the tasks of one job */
	char executor_job[64], executor_name[64];
	char failed_task[64]; /* the last task that ended badly here, or empty */
	struct backoff again; /* of its next try */
};

/*
 * A connection with the site's identity. `stop` NULL: it goes through even when the daemon stops. `patience_ms`: what a call
 * may take, the look-up of the server's name included; 0: as long as each call says.
 */
must_check int site_connect(const struct site *site, const atomic_bool *stop, long patience_ms,
	struct connection **connection, struct rounds_error *error);
bool site_stopping(const struct site *site);
int site_protocol(const struct site *site);
/* An answer to a claim or a heartbeat says whether the site drains: a change of it is for the site's log. */
void site_note_draining(struct site *site, const json_t *answer);

/* Whether waiting may help. */
bool error_is_passing(const struct rounds_error *error);

bool backoff_wait(struct backoff *backoff, const struct site *site);

/* daemon.c: runs until *stop. */
must_check int site_run(const json_t *settings, const atomic_bool *stop, struct rounds_error *error);

#endif
