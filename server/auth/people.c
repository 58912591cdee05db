/* Accounts, set-up links and browser sessions. */
#include "server/auth/internal.h"

#include "common/fields.h"
#include "common/hex.h"
#include "common/json.h"
#include "server/auth/password.h"
#include "server/store/accounts.h"
#include "server/store/identities.h"

#include <stdio.h>
#include <string.h>

/*
 * Each takes 32 MiB and a worker for a while: sites must not have to wait behind people who sign in. One is for those who
 * have signed in before, so that strangers cannot take all.
 */
enum { HASHES_AT_ONCE = 3, HASHES_OF_STRANGERS = 2 };

#define SETUP_US         (48 * 3600 * SECOND_US)
#define ACCOUNT_LIMIT_US (60 * SECOND_US) /* short, so that nobody is locked out by a stranger's guesses */
#define ADDRESS_LIMIT_US (900 * SECOND_US)

static void address_key(const char *address, char key[80])
{
	snprintf(key, 80, "address:%.60s", address);
}

int auth_may_try(struct auth *auth, const char *address, struct rounds_error *error)
{
	char key[80];

	address_key(address, key);
	return throttle_check(auth->throttle, key, world_steady_us(auth->world), error);
}

void auth_tried(struct auth *auth, const char *address, bool good)
{
	char key[80];

	address_key(address, key);
	if (good)
		throttle_passed(auth->throttle, key);
	else
		throttle_failed(auth->throttle, key, world_steady_us(auth->world), ADDRESS_LIMIT_US);
}

static int begin_hash(struct auth *auth, bool is_known, struct rounds_error *error)
{
	if (atomic_fetch_add(&auth->hashing, 1) < (is_known ? HASHES_AT_ONCE : HASHES_OF_STRANGERS))
		return 0;
	atomic_fetch_sub(&auth->hashing, 1);
	return error_set(error, ERROR_TOO_MANY, "many people are signing in just now; try again");
}

static void end_hash(struct auth *auth)
{
	atomic_fetch_sub(&auth->hashing, 1);
}

/* For whoever has proven to be somebody already. */
static int hash_bounded(struct auth *auth, const char *password, char *hash, struct rounds_error *error)
{
	int failed = begin_hash(auth, true, error);

	if (failed)
		return -1;
	failed = password_hash(auth->world, password, hash, error);
	end_hash(auth);
	return failed;
}

/* One write about a user: what a transaction needs. */
struct change {
	const char *name, *role, *hash, *password;
	const char *proven; /* the password's hash that was there when the person proved to know it */
	int64_t expires_us;
	char found[64];
};

static int add(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct change *change = argument;

	return user_insert(tx, change->name, change->role, error) ||
			       user_set_setup(tx, change->name, change->hash, change->expires_us, error)
		       ? -1
		       : 0;
}

static int reset(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct change *change = argument;

	return user_set_setup(tx, change->name, change->hash, change->expires_us, error) ||
			       session_delete(tx, NULL, change->name, error)
		       ? -1
		       : 0;
}

static void new_setup(struct auth *auth, struct setup *setup, char hash[65])
{
	hex_random(auth->world, 32, setup->secret);
	setup->expires_us = world_wall_us(auth->world) + SETUP_US;
	auth_hash(setup->secret, hash);
}

int auth_user_add(
	struct auth *auth, const char *name, const char *role, struct setup *setup, struct rounds_error *error)
{
	char hash[65];
	struct change change = { .name = name, .role = role, .hash = hash };

	if (!name_is_valid(name))
		return error_field(error, "name", "must be a name of 1 to 63 letters, digits, '.', '_' or '-'");
	if (!role_is_for_people(role))
		return error_field(error, "role", "must be \"admin\" or \"viewer\"");
	new_setup(auth, setup, hash);
	change.expires_us = setup->expires_us;
	if (store_write(auth->store, add, &change, error))
		return -1;
	return auth_refresh(auth, error);
}

int auth_user_reset(struct auth *auth, const char *name, struct setup *setup, struct rounds_error *error)
{
	char hash[65];
	struct change change = { .name = name, .hash = hash };

	new_setup(auth, setup, hash);
	change.expires_us = setup->expires_us;
	if (store_write(auth->store, reset, &change, error))
		return -1;
	return auth_revoked(auth, error);
}

static int reset_admin(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct change *change = argument;
	json_auto_t *users = NULL;
	size_t i;
	json_t *user;

	if (user_list(tx, &users, error))
		return -1;
	json_array_foreach (users, i, user)
		if (!strcmp(json_text_or(user, "name", ""), change->name))
			return user_set_role(tx, change->name, change->role, error) || reset(tx, change, error) ? -1
														: 0;
	return add(tx, change, error);
}

int auth_admin_reset(struct auth *auth, const char *name, struct setup *setup, struct rounds_error *error)
{
	char hash[65];
	struct change change = { .name = name, .role = "admin", .hash = hash };

	if (!name_is_valid(name))
		return error_field(error, "name", "must be a name of 1 to 63 letters, digits, '.', '_' or '-'");
	new_setup(auth, setup, hash);
	change.expires_us = setup->expires_us;
	return store_write(auth->store, reset_admin, &change, error);
}

/* So that somebody can always let others in. Looked at inside the transaction that would take the last one away. */
static int check_admin_left(struct store_tx *tx, struct rounds_error *error)
{
	json_auto_t *users = NULL;
	size_t i;
	json_t *user;

	if (user_list(tx, &users, error))
		return -1;
	json_array_foreach (users, i, user)
		if (!strcmp(json_text_or(user, "role", ""), "admin"))
			return 0;
	return error_set(error, ERROR_CONFLICT, "this is the last administrator; make another one first");
}

/* What the person made with rights that are gone ends with them. */
static int end_tokens(struct store_tx *tx, const char *maker, const char *role, struct rounds_error *error)
{
	json_auto_t *tokens = NULL;
	size_t i;
	json_t *token;

	if (token_list_made_by(tx, maker, &tokens, error))
		return -1;
	json_array_foreach (tokens, i, token)
		if (!(role && role_covers(role, json_text_or(token, "role", ""))) &&
			token_delete(tx, json_text_or(token, "id", ""), error))
			return -1;
	return 0;
}

static int remove_user(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return user_delete(tx, argument, error) || end_tokens(tx, argument, NULL, error) ||
			       check_admin_left(tx, error)
		       ? -1
		       : 0;
}

int auth_user_remove(struct auth *auth, const char *name, struct rounds_error *error)
{
	if (store_write(auth->store, remove_user, (void *)(uintptr_t)name, error))
		return -1;
	return auth_revoked(auth, error);
}

static int set_role(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct change *change = argument;

	return user_set_role(tx, change->name, change->role, error) ||
			       end_tokens(tx, change->name, change->role, error) || check_admin_left(tx, error)
		       ? -1
		       : 0;
}

int auth_user_role(struct auth *auth, const char *name, const char *role, struct rounds_error *error)
{
	struct change change = { .name = name, .role = role };

	if (!role_is_for_people(role))
		return error_field(error, "role", "must be \"admin\" or \"viewer\"");
	if (store_write(auth->store, set_role, &change, error))
		return -1;
	return auth_revoked(auth, error);
}

static void make_csrf(const char *secret, char csrf[SECRET_SIZE])
{
	char text[SECRET_SIZE + 8];

	snprintf(text, sizeof(text), "csrf:%s", secret);
	auth_hash(text, csrf);
}

static int open_session(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct new_session *session = argument;

	return session_expire(tx, error) || session_insert(tx, session, error) ? -1 : 0;
}

/* Of a user whose name is in the session, and who has proven to know the password of that hash. */
static int begin_session(struct auth *auth, struct session *session, const char *proven, struct rounds_error *error)
{
	char hash[65];
	struct new_session row = { hash, session->name, proven,
		world_wall_us(auth->world) + SESSION_SECONDS * SECOND_US };

	hex_random(auth->world, 32, session->secret);
	device_new(auth->world, session->name, proven, session->device);
	auth_hash(session->secret, hash);
	if (store_write(auth->store, open_session, &row, error)) {
		if (error->kind != ERROR_NO_SPACE || !guest_add(auth, &row))
			return -1;
		*error = (struct rounds_error){ 0 };
	} else if (auth_refresh(auth, error)) {
		return -1;
	}
	return auth_session(auth, session->secret, session, error);
}

int auth_session(struct auth *auth, const char *secret, struct session *session, struct rounds_error *error)
{
	char hash[65];
	const json_t *row;

	if (auth_is_current(auth, error))
		return -1;
	auth_hash(secret, hash);
	pthread_rwlock_rdlock(&auth->lock);
	row = json_object_get(auth->sessions, hash);
	session->expires_us = json_integer_or(row, "expires_us", 0);
	snprintf(session->name, sizeof(session->name), "%s", json_text_or(row, "user", ""));
	snprintf(session->role, sizeof(session->role), "%s", json_text_or(row, "role", ""));
	if (!row)
		guest_find(auth, hash, session);
	pthread_rwlock_unlock(&auth->lock);
	make_csrf(secret, session->csrf);
	if (session->expires_us <= world_wall_us(auth->world))
		return error_set(error, ERROR_UNAUTHENTICATED, "the session is over; sign in again");
	return 0;
}

/* Under what a guess is counted. A browser that has signed in before is slowed by its own guesses alone. */
struct guesser {
	char key[80];  /* the account's, or the browser's */
	bool is_known; /* the browser's */
	int64_t limit_us;
};

static struct guesser guesser_of(struct auth *auth, const struct attempt *attempt, const char *hash)
{
	struct guesser guesser = { .limit_us = ACCOUNT_LIMIT_US };
	char nonce[33];

	guesser.is_known = device_check(auth->world, attempt->device, attempt->name, hash, nonce);
	if (guesser.is_known)
		guesser.limit_us = ADDRESS_LIMIT_US;
	snprintf(guesser.key, sizeof(guesser.key), "%s:%.63s", guesser.is_known ? "device" : "account",
		guesser.is_known ? nonce : attempt->name);
	return guesser;
}

/* Whether the password is the account's; guesses are slowed by account and by address. *hash is the caller's to free. */
static int prove(struct auth *auth, const struct attempt *attempt, char **hash, struct rounds_error *error)
{
	struct guesser guesser;
	const char *known;
	bool good;

	if (auth_is_current(auth, error))
		return -1;
	pthread_rwlock_rdlock(&auth->lock);
	known = json_text_or(json_object_get(auth->users, attempt->name), "password", NULL);
	*hash = known ? strdup(known) : NULL;
	pthread_rwlock_unlock(&auth->lock);
	guesser = guesser_of(auth, attempt, *hash);
	if ((!guesser.is_known && auth_may_try(auth, attempt->address, error)) ||
		throttle_check(auth->throttle, guesser.key, world_steady_us(auth->world), error) ||
		begin_hash(auth, guesser.is_known, error))
		return -1;
	good = password_matches(attempt->password, *hash);
	end_hash(auth);
	if (!guesser.is_known)
		auth_tried(auth, attempt->address, good);
	if (!good) {
		throttle_failed(auth->throttle, guesser.key, world_steady_us(auth->world), guesser.limit_us);
		return error_set(error, ERROR_UNAUTHENTICATED, "the name or the password is wrong");
	}
	throttle_passed(auth->throttle, guesser.key);
	return 0;
}

int auth_sign_in(
	struct auth *auth, const struct attempt *attempt, struct session *session, struct rounds_error *error)
{
	scoped(text_free) char *proven = NULL;

	if (prove(auth, attempt, &proven, error))
		return -1;
	snprintf(session->name, sizeof(session->name), "%s", attempt->name);
	return begin_session(auth, session, proven, error);
}

static int find_setup(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct change *change = argument;

	return user_find_setup(tx, change->hash, change->found, error);
}

/* The secret is looked at again, since two may come at once. */
static int finish_setup(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct change *change = argument;

	return find_setup(tx, change, error) || user_set_password(tx, change->found, NULL, change->password, error)
		       ? -1
		       : 0;
}

int auth_user_setup(struct auth *auth, const char *secret, const char *password, const char *address,
	struct session *session, struct rounds_error *error)
{
	char hash[65], kept[PASSWORD_HASH_SIZE];
	struct change change = { .hash = hash, .password = kept };
	int failed;

	auth_hash(secret, hash);
	if (auth_may_try(auth, address, error))
		return -1;
	failed = store_read(auth->store, find_setup, &change, error);
	if (!failed || error->kind == ERROR_UNAUTHENTICATED)
		auth_tried(auth, address, !failed);
	if (failed || password_check(password, change.found, error) || hash_bounded(auth, password, kept, error) ||
		store_write(auth->store, finish_setup, &change, error))
		return -1;
	snprintf(session->name, sizeof(session->name), "%s", change.found);
	return begin_session(auth, session, kept, error);
}

static int delete_session(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct change *change = argument;

	return session_delete(tx, change->hash, change->name, error);
}

int auth_sign_out(struct auth *auth, const char *secret, bool everywhere, struct rounds_error *error)
{
	struct session session;
	char hash[65];
	struct change change = { 0 };

	if (auth_session(auth, secret, &session, error))
		return -1;
	auth_hash(secret, hash);
	if (guest_end(auth, hash, session.name, everywhere) && !everywhere)
		return auth_revoked(auth, error);
	if (everywhere)
		change.name = session.name;
	else
		change.hash = hash;
	if (store_write(auth->store, delete_session, &change, error))
		return -1;
	return auth_revoked(auth, error);
}

static int change_password(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct change *change = argument;

	return user_set_password(tx, change->name, change->proven, change->password, error) ||
			       session_delete(tx, NULL, change->name, error)
		       ? -1
		       : 0;
}

int auth_change_password(
	struct auth *auth, const struct attempt *old, const char *password, struct rounds_error *error)
{
	char kept[PASSWORD_HASH_SIZE];
	scoped(text_free) char *proven = NULL;
	struct change change = { .name = old->name, .password = kept };

	if (prove(auth, old, &proven, error))
		return -1;
	change.proven = proven;
	if (password_check(password, old->name, error) || hash_bounded(auth, password, kept, error) ||
		store_write(auth->store, change_password, &change, error))
		return -1;
	return auth_revoked(auth, error);
}
