/* What the files of this folder share. */
#ifndef ROUNDS_SERVER_AUTH_INTERNAL_H
#define ROUNDS_SERVER_AUTH_INTERNAL_H

#include "server/auth/auth.h"
#include "server/auth/throttle.h"

#include <pthread.h>
#include <stdatomic.h>

struct auth {
	struct store *store;
	struct world *world;
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
	json_t *guests;   /* {hash: {"user", "proven", "expires_us"}}: sessions that the store does not have */
};

/* The copy, read anew if the last reading failed: before it is looked at. */
must_check int auth_is_current(struct auth *auth, struct rounds_error *error);

/* guests.c. False: there are too many. */
struct new_session;
bool guest_add(struct auth *auth, const struct new_session *session);
/* Fills the session if it is a guest's; the lock is held. */
void guest_find(struct auth *auth, const char *hash, struct session *session);
/* One, and with `everywhere` all of the user. Whether that one was a guest's. */
bool guest_end(struct auth *auth, const char *hash, const char *user, bool everywhere);

#endif
