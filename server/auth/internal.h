/* What the files of this folder share. */
#ifndef ROUNDS_SERVER_AUTH_INTERNAL_H
#define ROUNDS_SERVER_AUTH_INTERNAL_H

#include "server/auth/auth.h"
#include "server/auth/throttle.h"

#include <pthread.h>
#include <stdatomic.h>

struct auth {
	struct store *store;
	struct throttle *throttle;
	atomic_ulong revocations;
	void (*tell)(void *context); /* of a revocation; may be NULL */
	void *context;
	atomic_int hashing;      /* passwords that are being hashed now */
	pthread_mutex_t reading; /* held from before the store is read until the copy is replaced */
	atomic_ulong asked;      /* readings asked for; `read`: how many of these the copy has seen */
	unsigned long read;
	atomic_bool stale; /* the last reading failed */
	pthread_rwlock_t lock;
	json_t *tokens;   /* {hash: row} */
	json_t *sites;    /* {name: row} */
	json_t *users;    /* {name: row} */
	json_t *sessions; /* {hash: row} */
};

/* The copy, read anew if the last reading failed: before it is looked at. */
must_check int auth_is_current(struct auth *auth, struct rounds_error *error);

#endif
