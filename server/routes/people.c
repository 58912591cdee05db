/* Accounts, and the sessions of browsers. */
#include "server/routes/app.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "server/store/accounts.h"

#include <stdio.h>
#include <string.h>

static void log_person(const char *what, const char *name, struct request *request)
{
	const struct caller *caller = request_caller(request);

	log_info(what, "user", name, "by", caller->name[0] ? caller->name : NULL, "address", request_address(request),
		NULL);
}

/* The way in, for whoever made the account to pass on. The secret is behind a #, so that no server or log sees it. */
static enum outcome reply_setup(struct request *request, int status, const char *name, const struct setup *setup)
{
	const char *host = request_header(request, "Host");
	char until[TIME_TEXT_SIZE];

	time_format(setup->expires_us, until);
	return reply_json(request, status,
		json_pack("{s:s, s:o, s:s}", "name", name, "setup_link",
			json_sprintf("https://%s/#/setup/%s", host ? host : "localhost", setup->secret), "expires",
			until));
}

enum outcome user_create(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	const char *name = "", *role = "viewer";
	struct setup setup;

	if (request_json(request, &body, &error) ||
		json_only(body, (const char *const[]){ "name", "role", NULL }, &error) ||
		json_get_text(body, "name", true, &name, &error) ||
		json_get_text(body, "role", false, &role, &error) ||
		auth_user_add(app->auth, name, role, &setup, &error))
		return reply_error(request, &error);
	log_person("user added", name, request);
	return reply_setup(request, 201, name, &setup);
}

static int read_users(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return user_list(tx, argument, error);
}

enum outcome user_list_all(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_t *users = NULL;

	if (store_read(app->store, read_users, &users, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, json_pack("{s:o}", "items", users));
}

enum outcome user_edit(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	const char *name = request_parameter(request, "user"), *role = "";
	json_auto_t *body = NULL;

	if (request_json(request, &body, &error) || json_only(body, (const char *const[]){ "role", NULL }, &error) ||
		json_get_text(body, "role", true, &role, &error) || auth_user_role(app->auth, name, role, &error))
		return reply_error(request, &error);
	log_person("role changed", name, request);
	return reply_json(request, 200, json_pack("{s:s, s:s}", "name", name, "role", role));
}

enum outcome user_reset_one(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	const char *name = request_parameter(request, "user");
	struct setup setup;

	if (auth_user_reset(app->auth, name, &setup, &error))
		return reply_error(request, &error);
	log_person("password reset", name, request);
	return reply_setup(request, 200, name, &setup);
}

enum outcome user_remove(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	const char *name = request_parameter(request, "user");

	if (auth_user_remove(app->auth, name, &error))
		return reply_error(request, &error);
	log_person("user removed", name, request);
	return reply_empty(request, 204);
}

static json_t *describe_session(const struct session *session)
{
	char until[TIME_TEXT_SIZE];

	time_format(session->expires_us, until);
	return json_pack("{s:s, s:s, s:o, s:s, s:s}", "name", session->name, "role", session->role, "may",
		role_permissions(session->role), "csrf", session->csrf, "expires", until);
}

static enum outcome reply_session(struct request *request, const struct session *session)
{
	reply_header(request, "Set-Cookie",
		SESSION_COOKIE "=%s; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=Strict", session->secret,
		SESSION_SECONDS);
	if (session->device[0])
		reply_header(request, "Set-Cookie",
			DEVICE_COOKIE "=%s; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=Strict", session->device,
			DEVICE_SECONDS);
	return reply_json(request, 201, describe_session(session));
}

enum outcome session_open(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	struct attempt attempt = {
		.address = request_address(request),
		.device = request_cookie(request, DEVICE_COOKIE),
	};
	struct session session;

	if (request_json(request, &body, &error) || json_get_text(body, "name", true, &attempt.name, &error) ||
		json_get_text(body, "password", true, &attempt.password, &error))
		return reply_error(request, &error);
	if (auth_sign_in(app->auth, &attempt, &session, &error)) {
		log_warn("sign-in refused", "address", request_address(request), "reason", error.message, NULL);
		return reply_error(request, &error);
	}
	log_person("signed in", session.name, request);
	return reply_session(request, &session);
}

enum outcome session_setup(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	const char *secret = "", *password = "";
	struct session session;

	if (request_json(request, &body, &error) || json_get_text(body, "setup", true, &secret, &error) ||
		json_get_text(body, "password", true, &password, &error) ||
		auth_user_setup(app->auth, secret, password, request_address(request), &session, &error))
		return reply_error(request, &error);
	log_person("password set", session.name, request);
	return reply_session(request, &session);
}

enum outcome session_show(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	const char *secret = request_cookie(request, SESSION_COOKIE);
	struct session session;

	if (!secret)
		error_set(&error, ERROR_NOT_FOUND, "this is a token, not a session");
	if (!secret || auth_session(app->auth, secret, &session, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, describe_session(&session));
}

enum outcome session_close(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	const char *secret = request_cookie(request, SESSION_COOKIE), *where = request_query(request, "everywhere");

	if (!secret)
		error_set(&error, ERROR_NOT_FOUND, "this is a token, not a session");
	if (!secret || auth_sign_out(app->auth, secret, where && !strcmp(where, "true"), &error))
		return reply_error(request, &error);
	reply_header(request, "Set-Cookie", SESSION_COOKIE "=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
	return reply_empty(request, 204);
}

enum outcome password_change(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	struct attempt old = {
		.name = request_caller(request)->name,
		.address = request_address(request),
		.device = request_cookie(request, DEVICE_COOKIE),
	};
	const char *password = "";

	if (request_json(request, &body, &error) || json_get_text(body, "old", true, &old.password, &error) ||
		json_get_text(body, "password", true, &password, &error) ||
		auth_change_password(app->auth, &old, password, &error))
		return reply_error(request, &error);
	log_person("password changed", request_caller(request)->name, request);
	return reply_empty(request, 204);
}
