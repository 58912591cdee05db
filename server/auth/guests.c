/*
 * Sessions that are in memory alone, since the disk is full: whoever has to make room must be able to come in and look. They
 * end with the server, with the account, and with the password that opened them; the store does not know them, so that
 * nothing can be written with them, also once there is space again.
 */
#include "server/auth/internal.h"

#include "common/json.h"
#include "common/log.h"
#include "server/store/accounts.h"

#include <stdio.h>
#include <string.h>

enum { GUESTS = 64 };

bool guest_add(struct auth *auth, const struct new_session *session)
{
	json_t *guest = json_pack("{s:s, s:s, s:I}", "user", session->user, "proven", session->proven, "expires_us",
		(json_int_t)session->expires_us);
	bool added;

	pthread_rwlock_wrlock(&auth->lock);
	if (!auth->guests)
		auth->guests = json_object();
	added = json_object_size(auth->guests) < GUESTS && !json_object_set(auth->guests, session->hash, guest);
	pthread_rwlock_unlock(&auth->lock);
	json_decref(guest);
	if (added)
		log_warn("signed in while the disk is full: the session is in memory alone", "user", session->user,
			NULL);
	return added;
}

/* With the role that its user has now; its end is 0 where there is none. The lock is held. */
void guest_find(struct auth *auth, const char *hash, struct session *session)
{
	const json_t *guest = json_object_get(auth->guests, hash);
	const char *name = json_text_or(guest, "user", "");
	const json_t *user = json_object_get(auth->users, name);

	if (!guest || strcmp(json_text_or(user, "password", ""), json_text_or(guest, "proven", "-")) != 0)
		return;
	session->expires_us = json_integer_or(guest, "expires_us", 0);
	snprintf(session->name, sizeof(session->name), "%s", name);
	snprintf(session->role, sizeof(session->role), "%s", json_text_or(user, "role", ""));
}

bool guest_end(struct auth *auth, const char *hash, const char *user, bool everywhere)
{
	bool was;
	const char *key;
	void *at;
	json_t *guest;

	pthread_rwlock_wrlock(&auth->lock);
	was = json_object_del(auth->guests, hash) == 0;
	json_object_foreach_safe(
		auth->guests, at, key, guest) if (everywhere && !strcmp(json_text_or(guest, "user", ""), user))
		json_object_del(auth->guests, key);
	pthread_rwlock_unlock(&auth->lock);
	return was;
}
