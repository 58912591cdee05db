#include "server/auth/internal.h"

#include "common/digest.h"
#include "common/fields.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/uuid.h"
#include "server/store/accounts.h"
#include "server/store/identities.h"

#include <stdio.h>
#include <string.h>

int auth_open(struct store *store, struct world *world, struct auth **out, struct rounds_error *error)
{
	scoped(auth_close) struct auth *auth = calloc(1, sizeof(*auth));

	if (!auth)
		return error_no_memory(error);
	auth->store = store;
	auth->world = world;
	pthread_mutex_init(&auth->reading, NULL);
	pthread_rwlock_init(&auth->lock, NULL);
	auth->throttle = throttle_new();
	if (!auth->throttle)
		return error_no_memory(error);
	if (auth_refresh(auth, error))
		return -1;
	*out = auth;
	auth = NULL;
	return 0;
}

void auth_close(struct auth *auth)
{
	if (!auth)
		return;
	json_decref(auth->tokens);
	json_decref(auth->sites);
	json_decref(auth->users);
	json_decref(auth->sessions);
	json_decref(auth->guests);
	throttle_free(auth->throttle);
	pthread_rwlock_destroy(&auth->lock);
	pthread_mutex_destroy(&auth->reading);
	free(auth);
}

struct identities {
	json_t *tokens, *sites, *users, *sessions;
};

static int read_identities(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct identities *identities = argument;

	return token_list_secrets(tx, &identities->tokens, error) ||
			       site_list_serials(tx, &identities->sites, error) ||
			       user_list_secrets(tx, &identities->users, error) ||
			       session_list(tx, &identities->sessions, error)
		       ? -1
		       : 0;
}

/* Takes the rows. */
static void replace(json_t **map, json_t *rows, const char *key)
{
	size_t i;
	json_t *row;

	json_decref(*map);
	*map = json_object();
	json_array_foreach (rows, i, row)
		json_object_set(*map, json_text_or(row, key, ""), row);
	json_decref(rows);
}

static int read_again(struct auth *auth, struct rounds_error *error)
{
	struct identities identities = { 0 };

	if (store_read(auth->store, read_identities, &identities, error)) {
		json_decref(identities.tokens);
		json_decref(identities.sites);
		json_decref(identities.users);
		return -1;
	}
	pthread_rwlock_wrlock(&auth->lock);
	replace(&auth->tokens, identities.tokens, "hash");
	replace(&auth->sites, identities.sites, "name");
	replace(&auth->users, identities.users, "name");
	replace(&auth->sessions, identities.sessions, "hash");
	pthread_rwlock_unlock(&auth->lock);
	return 0;
}

/* Whoever has waited while a reading began that was asked for later has nothing left to do. */
int auth_refresh(struct auth *auth, struct rounds_error *error)
{
	unsigned long mine = atomic_fetch_add(&auth->asked, 1) + 1, asked;
	int failed = 0;

	pthread_mutex_lock(&auth->reading);
	if (auth->read < mine) {
		asked = atomic_load(&auth->asked);
		failed = read_again(auth, error);
		atomic_store(&auth->stale, failed != 0);
		if (!failed)
			auth->read = asked;
	}
	pthread_mutex_unlock(&auth->reading);
	return failed;
}

int auth_is_current(struct auth *auth, struct rounds_error *error)
{
	return atomic_load(&auth->stale) ? auth_refresh(auth, error) : 0;
}

int auth_revoked(struct auth *auth, struct rounds_error *error)
{
	int failed = auth_refresh(auth, error);

	atomic_fetch_add(&auth->revocations, 1);
	if (auth->tell)
		auth->tell(auth->context);
	return failed;
}

void auth_on_revocation(struct auth *auth, void (*tell)(void *context), void *context)
{
	auth->tell = tell;
	auth->context = context;
}

uint64_t auth_revocations(struct auth *auth)
{
	return atomic_load(&auth->revocations);
}

void auth_hash(const char *secret, char hash[65])
{
	struct digest digest;

	digest_of(secret, strlen(secret), &digest);
	hex_format(digest.bytes, DIGEST_SIZE, hash);
}

int auth_token(struct auth *auth, const char *token, struct bearer *bearer, struct rounds_error *error)
{
	char hash[65];
	const json_t *row;
	int64_t expires;

	if (auth_is_current(auth, error))
		return -1;
	auth_hash(token, hash);
	pthread_rwlock_rdlock(&auth->lock);
	row = json_object_get(auth->tokens, hash);
	expires = json_integer_or(row, "expires_us", 0);
	snprintf(bearer->id, sizeof(bearer->id), "%s", json_text_or(row, "id", ""));
	snprintf(bearer->name, sizeof(bearer->name), "%s", json_text_or(row, "name", ""));
	snprintf(bearer->role, sizeof(bearer->role), "%s", json_text_or(row, "role", ""));
	pthread_rwlock_unlock(&auth->lock);
	if (!bearer->id[0])
		return error_set(error, ERROR_UNAUTHENTICATED, "the token is not known to this server");
	if (expires && expires < world_wall_us(auth->world))
		return error_set(error, ERROR_UNAUTHENTICATED, "the token has expired");
	return 0;
}

int auth_site(struct auth *auth, const char *site, const char *serial, struct rounds_error *error)
{
	const json_t *row;
	bool current, active;

	if (auth_is_current(auth, error))
		return -1;
	pthread_rwlock_rdlock(&auth->lock);
	row = json_object_get(auth->sites, site);
	current = row && (!strcmp(json_text_or(row, "serial", ""), serial) ||
				 !strcmp(json_text_or(row, "old_serial", ""), serial));
	active = current && strcmp(json_text_or(row, "state", ""), "removed") != 0;
	pthread_rwlock_unlock(&auth->lock);
	if (active)
		return 0;
	return error_set(error, ERROR_FORBIDDEN, "%s",
		current ? "this site was removed; ask the operator to invite it again"
			: "this certificate is not the site's present one; join again with a new invitation");
}

static int insert_token(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return token_insert(tx, argument, error);
}

int auth_token_new(struct auth *auth, const struct credential *maker, const char *name, const char *role,
	int64_t expires_us, char secret[80], char id[37], struct rounds_error *error)
{
	char hash[65];
	struct new_token token = { id, name, role, hash, expires_us, maker };

	if (!name_is_valid(name))
		return error_field(error, "name", "must be a name of 1 to 63 letters, digits, '.', '_' or '-'");
	if (!role_is_for_people(role))
		return error_field(error, "role", "must be \"admin\" or \"viewer\"");
	uuid_new(auth->world, id);
	memcpy(secret, "rounds_", 7);
	hex_random(auth->world, 32, secret + 7);
	auth_hash(secret, hash);
	if (store_write(auth->store, insert_token, &token, error))
		return -1;
	return auth_refresh(auth, error);
}
