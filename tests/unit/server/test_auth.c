/* Roles, passwords, the slowing of guesses, accounts and their sessions; on a real store. */
#include "tests/unit/test.h"
#include "tests/unit/world.h"

#include "common/clock.h"
#include "common/json.h"
#include "server/auth/auth.h"
#include "server/auth/password.h"
#include "server/auth/throttle.h"
#include "server/store/accounts.h"
#include "server/store/identities.h"

#include <pthread.h>
#include <stdatomic.h>

static void roles(void **state)
{
	json_auto_t *viewer = role_permissions("viewer");

	assert_true(role_may("admin", ACCOUNT_MANAGE) && role_may("viewer", JOB_READ));
	assert_false(role_may("viewer", JOB_WRITE) || role_may("nobody", ANYONE) || role_may("admin", TASK_DO));
	assert_true(role_may(ROLE_SITE, TASK_DO) && !role_may(ROLE_SITE, JOB_READ));
	assert_true(role_is_for_people("viewer"));
	assert_false(role_is_for_people(ROLE_SITE) || role_is_for_people(""));
	assert_true(json_lists(viewer, permission_name(JOB_READ)) && !json_lists(viewer, permission_name(JOB_WRITE)));
}

static void passwords(void **state)
{
	struct rounds_error error = { 0 };
	char hash[PASSWORD_HASH_SIZE], again[PASSWORD_HASH_SIZE], wide[300];

	assert_int_equal(password_check("correct horse", "ann", &error), 0);
	assert_int_equal(password_check("short", "ann", &error), -1);
	assert_int_equal(password_check("aaaaaaaaaaaaaaa", "ann", &error), -1);
	assert_int_equal(password_check("dr.ann.smith", "Dr.Ann.Smith", &error), -1);
	memset(wide, 'a', sizeof(wide));
	wide[299] = '\0';
	assert_int_equal(password_check(wide, "ann", &error), -1);
	assert_string_equal(error.field, "password");

	assert_int_equal(password_hash(world_real(), "correct horse", hash, &error), 0);
	assert_int_equal(password_hash(world_real(), "correct horse", again, &error), 0);
	assert_string_not_equal(hash, again); /* each has its salt */
	assert_true(password_matches("correct horse", hash) && password_matches("correct horse", again));
	assert_false(password_matches("correct hors", hash) || password_matches("", hash));
	assert_false(password_matches("correct horse", NULL) || password_matches("correct horse", "scrypt$x"));
	assert_false(password_matches(wide, hash));
}

static void guesses_are_slowed(void **state)
{
	struct throttle *throttle = throttle_new();
	struct rounds_error error = { 0 };
	int64_t now = 1000 * SECOND_US;

	for (int i = 0; i < 4; i++)
		throttle_failed(throttle, "a", now, 60 * SECOND_US);
	assert_int_equal(throttle_check(throttle, "a", now, &error), 0);
	throttle_failed(throttle, "a", now, 60 * SECOND_US);
	assert_int_equal(throttle_check(throttle, "a", now, &error), -1);
	assert_says(error, "try again in 1 s");
	assert_int_equal(error.kind, ERROR_TOO_MANY);
	assert_int_equal(throttle_check(throttle, "b", now, &error), 0);
	assert_int_equal(throttle_check(throttle, "a", now + SECOND_US, &error), 0);
	for (int i = 0; i < 30; i++)
		throttle_failed(throttle, "a", now, 60 * SECOND_US);
	assert_int_equal(throttle_check(throttle, "a", now + 59 * SECOND_US, &error), -1);
	assert_int_equal(throttle_check(throttle, "a", now + 60 * SECOND_US, &error), 0);
	throttle_passed(throttle, "a");
	assert_int_equal(throttle_check(throttle, "a", now, &error), 0);

	/* Full, the oldest makes room, and an hour of quiet forgets. */
	for (int i = 0; i < 3000; i++) {
		char key[20];

		snprintf(key, sizeof(key), "k%d", i);
		throttle_failed(throttle, key, now + i, SECOND_US);
	}
	for (int i = 0; i < 4; i++)
		throttle_failed(throttle, "k2999", now, SECOND_US);
	assert_int_equal(throttle_check(throttle, "k2999", now, &error), -1);
	throttle_failed(throttle, "k2999", now + 3601 * SECOND_US, SECOND_US);
	assert_int_equal(throttle_check(throttle, "k2999", now + 3601 * SECOND_US, &error), 0);
	throttle_free(throttle);
}

static void open_auth(void **state, struct store **store, struct auth **auth)
{
	struct rounds_error error = { 0 };

	assert_int_equal(store_open(in(state, "db"), world_real(), store, &error), 0);
	assert_int_equal(auth_open(*store, world_real(), auth, &error), 0);
}

static int sign_in(struct auth *auth, const char *name, const char *password, const char *address,
	struct session *session, struct rounds_error *error)
{
	return auth_sign_in(auth, &(struct attempt){ name, password, address, NULL }, session, error);
}

static int change_password(
	struct auth *auth, const char *old, const char *password, const char *address, struct rounds_error *error)
{
	return auth_change_password(auth, &(struct attempt){ "ann", old, address, NULL }, password, error);
}

static void an_account_from_its_link_to_its_end(void **state)
{
	struct store *store;
	struct auth *auth;
	struct rounds_error error = { 0 };
	struct setup setup, other;
	struct session session, second;
	uint64_t before;

	open_auth(state, &store, &auth);
	assert_int_equal(auth_user_add(auth, "ann", "admin", &setup, &error), 0);
	assert_int_equal(auth_user_add(auth, "ann", "viewer", &other, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFLICT);
	assert_int_equal(auth_user_add(auth, "b c", "viewer", &other, &error), -1);
	assert_int_equal(auth_user_add(auth, "bob", "site", &other, &error), -1);
	assert_string_equal(error.field, "role");
	/* Nobody can sign in before a password was chosen. */
	assert_int_equal(sign_in(auth, "ann", "", "1.1.1.1", &session, &error), -1);
	assert_int_equal(auth_user_setup(auth, "guess", "correct horse", "2.2.2.2", &session, &error), -1);
	assert_int_equal(auth_user_setup(auth, setup.secret, "short", "2.2.2.2", &session, &error), -1);
	assert_int_equal(auth_user_setup(auth, setup.secret, "correct horse", "2.2.2.2", &session, &error), 0);
	assert_string_equal(session.role, "admin");
	assert_int_equal(auth_user_setup(auth, setup.secret, "correct house", "2.2.2.2", &second, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAUTHENTICATED); /* once */

	assert_int_equal(sign_in(auth, "ann", "wrong horse", "1.1.1.1", &second, &error), -1);
	assert_int_equal(sign_in(auth, "ann", "correct horse", "1.1.1.1", &second, &error), 0);
	assert_string_not_equal(session.secret, second.secret);
	assert_string_not_equal(session.csrf, session.secret);
	before = auth_revocations(auth);
	assert_int_equal(auth_sign_out(auth, second.secret, false, &error), 0);
	assert_true(auth_revocations(auth) > before);
	assert_int_equal(auth_session(auth, second.secret, &second, &error), -1);
	assert_int_equal(auth_session(auth, session.secret, &second, &error), 0);

	/* The last administrator stays. */
	assert_int_equal(auth_user_role(auth, "ann", "viewer", &error), -1);
	assert_int_equal(auth_user_remove(auth, "ann", &error), -1);
	assert_int_equal(error.kind, ERROR_CONFLICT);
	assert_int_equal(auth_user_add(auth, "bob", "admin", &other, &error), 0);
	assert_int_equal(auth_user_role(auth, "ann", "viewer", &error), 0);
	assert_int_equal(auth_session(auth, session.secret, &second, &error), 0);
	assert_string_equal(second.role, "viewer");

	assert_int_equal(change_password(auth, "wrong horse", "battery staple", "1.1.1.1", &error), -1);
	assert_int_equal(change_password(auth, "correct horse", "battery staple", "1.1.1.1", &error), 0);
	assert_int_equal(auth_session(auth, session.secret, &second, &error), -1);
	assert_int_equal(sign_in(auth, "ann", "battery staple", "1.1.1.1", &session, &error), 0);
	assert_int_equal(auth_sign_out(auth, session.secret, true, &error), 0);
	assert_int_equal(auth_user_reset(auth, "ann", &setup, &error), 0);
	assert_int_equal(sign_in(auth, "ann", "battery staple", "1.1.1.1", &session, &error), -1);
	assert_int_equal(auth_user_remove(auth, "ann", &error), 0);
	assert_int_equal(auth_user_reset(auth, "ann", &setup, &error), -1);
	assert_int_equal(error.kind, ERROR_NOT_FOUND);
	auth_close(auth);
	store_close(store);
}

static void an_address_that_guesses_waits(void **state)
{
	struct store *store;
	struct auth *auth;
	struct rounds_error error = { 0 };
	struct session session;

	open_auth(state, &store, &auth);
	for (int i = 0; i < 5; i++)
		assert_int_equal(auth_user_setup(auth, "guess", "correct horse", "9.9.9.9", &session, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAUTHENTICATED);
	assert_int_equal(auth_may_try(auth, "9.9.9.9", &error), -1);
	assert_int_equal(error.kind, ERROR_TOO_MANY);
	assert_int_equal(auth_may_try(auth, "9.9.9.8", &error), 0);
	auth_close(auth);
	store_close(store);
}

struct churn {
	struct auth *auth;
	atomic_bool stop;
};

static void *make_tokens(void *argument)
{
	struct churn *churn = argument;
	struct rounds_error error = { 0 };
	char secret[80], id[37];

	while (!atomic_load(&churn->stop))
		assert_int_equal(auth_token_new(churn->auth, NULL, "churn", "viewer", 0, secret, id, &error), 0);
	return NULL;
}

static int delete_token(struct store_tx *tx, void *id, struct rounds_error *error)
{
	return token_delete(tx, id, error);
}

/* Readings that began before a removal, by those who make tokens meanwhile, never bring it back. */
static void what_is_removed_stays_removed(void **state)
{
	enum { TIMES = 150, CHURNS = 4 };
	scoped(store_close) struct store *store = NULL;
	scoped(auth_close) struct auth *auth = NULL;
	struct rounds_error error = { 0 };
	struct churn churn = { 0 };
	struct bearer bearer;
	pthread_t threads[CHURNS];
	char secret[80], id[37];

	assert_int_equal(store_open(in(state, "db"), world_real(), &store, &error), 0);
	assert_int_equal(auth_open(store, world_real(), &auth, &error), 0);
	churn.auth = auth;
	for (int i = 0; i < CHURNS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_tokens, &churn), 0);
	for (int i = 0; i < TIMES; i++) {
		assert_int_equal(auth_token_new(auth, NULL, "victim", "admin", 0, secret, id, &error), 0);
		assert_int_equal(auth_token(auth, secret, &bearer, &error), 0);
		assert_string_equal(bearer.id, id);
		assert_int_equal(store_write(store, delete_token, id, &error), 0);
		assert_int_equal(auth_revoked(auth, &error), 0);
		for (int looks = 0; looks < 20; looks++)
			assert_int_equal(auth_token(auth, secret, &bearer, &error), -1);
	}
	atomic_store(&churn.stop, true);
	for (int i = 0; i < CHURNS; i++)
		pthread_join(threads[i], NULL);
}

static int open_late(struct store_tx *tx, void *proven, struct rounds_error *error)
{
	const struct new_session session = { "h", "ann", proven, INT64_MAX };

	return session_insert(tx, &session, error);
}

static int set_late(struct store_tx *tx, void *proven, struct rounds_error *error)
{
	return user_set_password(tx, "ann", proven, "mine", error);
}

/* Somebody who proved to know the old password just before a reset neither comes in nor sets another. */
static void a_proof_ends_with_the_password(void **state)
{
	scoped(store_close) struct store *store = NULL;
	scoped(auth_close) struct auth *auth = NULL;
	struct rounds_error error = { 0 };
	struct session session;
	struct setup setup;
	char proven[] = "what was there before";

	assert_int_equal(store_open(in(state, "db"), world_real(), &store, &error), 0);
	assert_int_equal(auth_open(store, world_real(), &auth, &error), 0);
	assert_int_equal(auth_user_add(auth, "ann", "admin", &setup, &error), 0);
	assert_int_equal(auth_user_setup(auth, setup.secret, "correct horse", "2.2.2.2", &session, &error), 0);
	assert_int_equal(store_write(store, open_late, proven, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAUTHENTICATED);
	assert_int_equal(store_write(store, set_late, proven, &error), -1);
	assert_int_equal(auth_user_reset(auth, "ann", &setup, &error), 0);
	assert_int_equal(store_write(store, open_late, proven, &error), -1);
	assert_int_equal(store_write(store, set_late, proven, &error), -1);
	assert_int_equal(auth_user_setup(auth, setup.secret, "battery staple", "2.2.2.2", &session, &error), 0);
}

static int check(struct store_tx *tx, void *credential, struct rounds_error *error)
{
	return credential_check(tx, credential, error);
}

static int touch(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	(*(int *)argument)++;
	return 0;
}

/* The look at who asks is in the transaction of what they do. */
static void a_write_looks_at_who_asks(void **state)
{
	scoped(store_close) struct store *store = NULL;
	scoped(auth_close) struct auth *auth = NULL;
	struct rounds_error error = { 0 };
	char secret[80], id[37];
	struct credential credential = { "token", id, "t", "admin" };
	const struct store_witness witness = { check, NULL, &credential };
	int done = 0;

	assert_int_equal(store_open(in(state, "db"), world_real(), &store, &error), 0);
	assert_int_equal(auth_open(store, world_real(), &auth, &error), 0);
	assert_int_equal(auth_token_new(auth, NULL, "t", "admin", 0, secret, id, &error), 0);
	store_attend(&witness);
	assert_int_equal(store_write(store, touch, &done, &error), 0);
	credential.role = "viewer";
	assert_int_equal(store_write(store, touch, &done, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAUTHENTICATED);
	credential.role = "admin";
	assert_int_equal(store_write(store, delete_token, id, &error), 0);
	assert_int_equal(store_write(store, touch, &done, &error), -1);
	assert_int_equal(done, 1);
	store_attend(NULL);
	assert_int_equal(store_write(store, touch, &done, &error), 0);
}

/* A cookie is good for one account with one password, for half a year. */
static void a_browser_that_has_signed_in_is_known(void **state)
{
	const int64_t day = 86400ll * SECOND_US;
	struct test_world world;
	char device[DEVICE_SIZE], nonce[33], other[DEVICE_SIZE];

	test_world_begin(&world, 1);
	world.wall = 10 * day;
	device_new(&world.world, "ann", "scrypt$1", device);
	assert_true(device_check(&world.world, device, "ann", "scrypt$1", nonce));
	assert_int_equal(strncmp(nonce, device, 32), 0);
	world.wall = 189 * day;
	assert_true(device_check(&world.world, device, "ann", "scrypt$1", nonce));
	world.wall = 191 * day;
	assert_false(device_check(&world.world, device, "ann", "scrypt$1", nonce));
	assert_false(device_check(&world.world, device, "bob", "scrypt$1", nonce));
	assert_false(device_check(&world.world, device, "ann", "scrypt$2", nonce));
	assert_false(device_check(&world.world, device, "ann", NULL, nonce));
	assert_false(device_check(&world.world, NULL, "ann", "scrypt$1", nonce));
	for (size_t at = 0; at < strlen(device); at++) {
		strcpy(other, device);
		other[at] = other[at] == '1' ? '2' : '1';
		assert_false(device_check(&world.world, other, "ann", "scrypt$1", nonce));
		other[at] = '\0';
		assert_false(device_check(&world.world, other, "ann", "scrypt$1", nonce));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roles),
		cmocka_unit_test(passwords),
		cmocka_unit_test(guesses_are_slowed),
		cmocka_unit_test(a_browser_that_has_signed_in_is_known),
		unit_test_in_directory(what_is_removed_stays_removed),
		unit_test_in_directory(a_proof_ends_with_the_password),
		unit_test_in_directory(a_write_looks_at_who_asks),
		unit_test_in_directory(an_account_from_its_link_to_its_end),
		unit_test_in_directory(an_address_that_guesses_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
