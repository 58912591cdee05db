/*
 * Who is who, and who may what.
 *
 * Identities live in the store; a copy in memory answers every request without touching the disk, and is refreshed
 * after each change. Secrets (tokens, invitations) are stored and looked up as SHA-256 digests: they are 256 random
 * bits, so a fast hash is enough.
 */
#ifndef ROUNDS_SERVER_AUTH_AUTH_H
#define ROUNDS_SERVER_AUTH_AUTH_H

#include "common/error.h"
#include "server/store/store.h"

#include <stdbool.h>
#include <stdint.h>

enum permission {
	ANYONE, /* no credentials needed */
	JOB_READ,
	JOB_WRITE, /* submit, change, abort, delete; upload models */
	SITE_READ,
	SITE_MANAGE, /* invite, remove */
	TOKEN_MANAGE,
	TASK_DO,    /* sites alone */
	BLOB_READ,  /* people who may read jobs; a site, for the models of its tasks */
	BLOB_WRITE, /* people who may write jobs; sites, for their updates */
};

struct auth;

/* What a role may do, as one table; see auth.c. */
bool role_may(const char *role, enum permission permission);
bool role_is_known(const char *role);
bool site_may(enum permission permission);

must_check int auth_open(struct store *store, struct auth **auth, struct rounds_error *error);
void auth_close(struct auth *auth);
DEFINE_CLEANUP(struct auth *, auth_close);

/* Reads the store again: after a site or a token has changed. */
must_check int auth_refresh(struct auth *auth, struct rounds_error *error);

/* The token's name and role (rooms of 64 and 16 bytes); ERROR_UNAUTHENTICATED if it is unknown or has expired. */
must_check int auth_token(struct auth *auth, const char *token, char *name, char *role, struct rounds_error *error);

/* Whether the site's certificate of this serial is still good. */
must_check int auth_site(struct auth *auth, const char *site, const char *serial, struct rounds_error *error);

/* Makes a token; `secret` (80 bytes) is shown once. expires_us 0: never. */
must_check int auth_token_new(struct auth *auth, const char *name, const char *role, int64_t expires_us,
	char secret[80], char id[37], struct rounds_error *error);

/* A one-time invitation: a secret and the authority's fingerprint, so that a site knows whom it joins. */
#define INVITATION_SIZE 160
must_check int auth_invite(struct auth *auth, const char *site, const char *fingerprint, int64_t expires_us,
	char invitation[INVITATION_SIZE], struct rounds_error *error);
/* The form under which an invitation is known to the store. */
void auth_invitation_hash(const char *invitation, char hash[65]);

#endif
