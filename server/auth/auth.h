/*
 * Who is who, and who may what.
 *
 * Identities live in the store; a copy in memory answers every request without touching the disk, and is refreshed
 * after each change. Secrets that the server makes (tokens, invitations, sessions, set-up links) are stored and looked
 * up as SHA-256 digests: they are 256 random bits, so a fast hash is enough. Passwords, which people make, are scrypt.
 */
#ifndef ROUNDS_SERVER_AUTH_AUTH_H
#define ROUNDS_SERVER_AUTH_AUTH_H

#include "common/error.h"
#include "common/world.h"
#include "server/auth/device.h"
#include "server/auth/roles.h"
#include "server/store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct auth;

must_check int auth_open(struct store *store, struct world *world, struct auth **auth, struct rounds_error *error);
void auth_close(struct auth *auth);
DEFINE_CLEANUP(struct auth *, auth_close);

/*
 * Reads the store again: after a site, a token or an account has changed. Readings follow each other, so that none takes
 * the place of one that began after it. After one that failed, nobody is let in until another has succeeded.
 */
must_check int auth_refresh(struct auth *auth, struct rounds_error *error);

/* Whose a token is; ERROR_UNAUTHENTICATED if it is unknown or has expired. */
struct bearer {
	char id[40], name[64], role[16];
};
must_check int auth_token(struct auth *auth, const char *token, struct bearer *bearer, struct rounds_error *error);

/*
 * How often something that was allowed has ceased to be: whoever keeps a stream open looks again when this has changed.
 */
uint64_t auth_revocations(struct auth *auth);
/* After a change that takes something away: auth_refresh, counts it and tells whoever asked to be told. */
must_check int auth_revoked(struct auth *auth, struct rounds_error *error);
/* Before threads: `tell` is called after each such change; it must not block. */
void auth_on_revocation(struct auth *auth, void (*tell)(void *context), void *context);

/* Whether the site's certificate of this serial is still good. */
must_check int auth_site(struct auth *auth, const char *site, const char *serial, struct rounds_error *error);

/*
 * Makes a token; `secret` (80 bytes) is shown once. expires_us 0: never. `maker` (NULL: this machine's administrator) is what
 * whoever makes it has shown: the token ends when that account, or the one that made that token, loses its role.
 */
struct credential;
must_check int auth_token_new(struct auth *auth, const struct credential *maker, const char *name, const char *role,
	int64_t expires_us, char secret[80], char id[37], struct rounds_error *error);

/* The form under which an invitation, or any other secret of ours, is known to the store. */
void auth_hash(const char *secret, char hash[65]);

/* People (people.c). `address` is where the request came from, as text. */

#define SECRET_SIZE 72
/* What opens an account, once and for two days; shown once. */
struct setup {
	char secret[SECRET_SIZE];
	int64_t expires_us;
};
must_check int auth_user_add(
	struct auth *auth, const char *name, const char *role, struct setup *setup, struct rounds_error *error);
/* A new set-up secret in place of the password; all sessions end. */
must_check int auth_user_reset(struct auth *auth, const char *name, struct setup *setup, struct rounds_error *error);
/* The same for an account that becomes an administrator's, and is made if it is not there. */
must_check int auth_admin_reset(struct auth *auth, const char *name, struct setup *setup, struct rounds_error *error);
/* The last administrator stays: ERROR_CONFLICT. */
must_check int auth_user_remove(struct auth *auth, const char *name, struct rounds_error *error);
must_check int auth_user_role(struct auth *auth, const char *name, const char *role, struct rounds_error *error);

struct session {
	char secret[SECRET_SIZE]; /* for the cookie */
	char device[DEVICE_SIZE]; /* for another cookie, set when it begins: see device.h */
	char csrf[SECRET_SIZE];   /* what changing requests must send beside it */
	char name[64], role[16];
	int64_t expires_us;
};
#define SESSION_SECONDS (12 * 3600)

/* A try at a password. */
struct attempt {
	const char *name, *password;
	const char *address; /* where it comes from */
	const char *device;  /* the browser's cookie of an earlier sign-in; NULL: none */
};
/* Chooses a password with a set-up secret, and signs in. */
must_check int auth_user_setup(struct auth *auth, const char *secret, const char *password, const char *address,
	struct session *session, struct rounds_error *error);
must_check int auth_sign_in(
	struct auth *auth, const struct attempt *attempt, struct session *session, struct rounds_error *error);
/* ERROR_UNAUTHENTICATED if the session is unknown or over. */
must_check int auth_session(
	struct auth *auth, const char *secret, struct session *session, struct rounds_error *error);
/* One session, or with `everywhere` all of its user. */
must_check int auth_sign_out(struct auth *auth, const char *secret, bool everywhere, struct rounds_error *error);
/* All sessions end: sign in again. ERROR_UNAUTHENTICATED if `old` is wrong. */
must_check int auth_change_password(
	struct auth *auth, const struct attempt *old, const char *password, struct rounds_error *error);

/* Guesses at secrets of any kind, by address: ERROR_TOO_MANY after some failures. */
must_check int auth_may_try(struct auth *auth, const char *address, struct rounds_error *error);
void auth_tried(struct auth *auth, const char *address, bool good);

#endif
