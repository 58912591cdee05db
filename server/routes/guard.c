#include "server/routes/app.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

static void let_in(struct caller *caller, enum caller_kind kind, const char *name, const char *role,
	const char *credential, const char *key)
{
	caller->kind = kind;
	caller->scope = &scope_all; /* every role is the whole server's, and what a site may is asked task by task */
	snprintf(caller->name, sizeof(caller->name), "%s", name);
	snprintf(caller->role, sizeof(caller->role), "%s", role);
	snprintf(caller->credential, sizeof(caller->credential), "%s:%s", credential, key);
}

static int by_token(const char *authorization, struct app *app, struct caller *caller, struct rounds_error *error)
{
	struct bearer token;

	if (strncasecmp(authorization, "Bearer ", 7) != 0)
		return error_set(error, ERROR_UNAUTHENTICATED, "send `Authorization: Bearer TOKEN`");
	if (auth_token(app->auth, authorization + 7, &token, error))
		return -1;
	let_in(caller, CALLER_PERSON, token.name, token.role, "token", token.id);
	return 0;
}

static bool changes_something(const struct request *request)
{
	const char *method = request_route(request)->method;

	return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "OPTIONS") != 0;
}

/* A browser sends its cookie by itself, whoever made it ask: what changes something must prove that our page did. */
static int by_cookie(struct request *request, const char *secret, struct app *app, struct caller *caller,
	struct rounds_error *error)
{
	const char *proof = request_header(request, "Rounds-CSRF");
	struct session session;
	char hash[65];

	if (auth_session(app->auth, secret, &session, error))
		return -1;
	if (changes_something(request) && (!proof || strlen(proof) != strlen(session.csrf) ||
						  CRYPTO_memcmp(proof, session.csrf, strlen(proof)) != 0))
		return error_set(error, ERROR_FORBIDDEN, "send the session's `csrf` as the header Rounds-CSRF");
	auth_hash(secret, hash);
	let_in(caller, CALLER_PERSON, session.name, session.role, "session", hash);
	return 0;
}

static int find_caller(struct request *request, struct app *app, struct caller *caller, struct rounds_error *error)
{
	const char *authorization = request_header(request, "Authorization");
	const char *cookie = request_cookie(request, SESSION_COOKIE), *name, *serial;

	if (authorization)
		return by_token(authorization, app, caller, error);
	if (cookie)
		return by_cookie(request, cookie, app, caller, error);
	if (!request_peer(request, &name, &serial))
		return error_set(error, ERROR_UNAUTHENTICATED,
			"send a token (`Authorization: Bearer TOKEN`) or connect with a site's certificate");
	if (auth_site(app->auth, name, serial, error))
		return -1;
	let_in(caller, CALLER_SITE, name, ROLE_SITE, "certificate", serial);
	return 0;
}

/* Sites' work waits, people may look and sign in. */
static bool refused_by_copy(const struct request *request, const struct app *app)
{
	return app->is_copy && changes_something(request) &&
	       strncmp(request_route(request)->path, "/api/v1/session", 15) != 0;
}

static int check_caller(struct request *request, struct app *app, struct rounds_error *error)
{
	enum permission wanted = (enum permission)request_route(request)->permission;
	struct caller *caller = request_caller(request);

	if (refused_by_copy(request, app))
		return error_set(error, ERROR_UNAVAILABLE,
			"this server stands on a copy of another's data and changes nothing: start it with --original-is-gone "
			"once the original will not run again");
	if (wanted == ANYONE)
		return 0;
	if (find_caller(request, app, caller, error))
		return -1;
	if (role_may(caller->role, wanted))
		return 0;
	if (caller->kind == CALLER_SITE)
		return error_set(error, ERROR_FORBIDDEN, "sites may not do this");
	if (wanted == TASK_DO)
		return error_set(error, ERROR_FORBIDDEN, "only a site, with its certificate, may do this");
	return error_set(error, ERROR_FORBIDDEN, "the role \"%s\" does not allow this", caller->role);
}

int guard(struct request *request, void *context, struct rounds_error *error)
{
	*request_caller(request) = (struct caller){ 0 };
	if (!check_caller(request, context, error))
		return 0;
	door_refused(request, context, error);
	return -1;
}

void caller_owner(const struct caller *caller, char owner[80])
{
	snprintf(owner, 80, "%s:%s", caller->kind == CALLER_SITE ? "site" : "person", caller->name);
}
