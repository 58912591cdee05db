#include "server/routes/app.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "server/store/identities.h"

#include <stdio.h>
#include <string.h>

#define INVITATION_US (24 * 3600 * SECOND_US)

struct site_query {
	const char *name;
	json_t *rows;
};

static int read_sites(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct site_query *query = argument;

	return query->name ? site_find(tx, query->name, &query->rows, error) : site_list(tx, &query->rows, error);
}

static void add_presence(struct app *app, json_t *site)
{
	bool present = engine_site_present(app->engine, json_text_or(site, "name", ""));

	json_object_set_new(site, "connected", json_boolean(present));
}

enum outcome site_list_all(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct site_query query = { 0 };
	size_t i;
	json_t *site;

	if (store_read(app->store, read_sites, &query, &error))
		return reply_error(request, &error);
	json_array_foreach (query.rows, i, site)
		add_presence(app, site);
	return reply_json(request, 200, json_pack("{s:o}", "items", query.rows));
}

enum outcome site_show(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct site_query query = { .name = request_parameter(request, "site") };

	if (store_read(app->store, read_sites, &query, &error))
		return reply_error(request, &error);
	add_presence(app, query.rows);
	return reply_json(request, 200, query.rows);
}

enum outcome site_invite(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	const char *site = "";
	char invitation[INVITATION_SIZE], until[TIME_TEXT_SIZE];
	int64_t expires = clock_wall_us() + INVITATION_US;

	if (request_json(request, &body, &error) || json_get_text(body, "site", true, &site, &error) ||
		auth_invite(app->auth, site, app->authority->fingerprint, expires, invitation, &error))
		return reply_error(request, &error);
	time_format(expires, until);
	log_info("site invited", "site", site, "by", request_caller(request)->name, NULL);
	return reply_json(
		request, 201, json_pack("{s:s, s:s, s:s}", "site", site, "invitation", invitation, "expires", until));
}

struct renewing {
	const char *with; /* serial of the certificate that asks */
	struct new_site site;
};

static int renew(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct renewing *renewing = argument;

	return site_renew(tx, &renewing->site, renewing->with, error);
}

/* The old certificate serves until its own end: connections that are open with it, and a site that loses the answer. */
enum outcome site_renew_own(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	scoped(text_free) char *certificate = NULL;
	struct certificate_facts facts;
	struct renewing renewing = { .site = { .serial = facts.serial } };
	const char *request_pem = "";

	if (!request_peer(request, &renewing.site.name, &renewing.with))
		error_set(&error, ERROR_FORBIDDEN, "only a site, with its certificate, may do this");
	if (error.kind || request_json(request, &body, &error) ||
		json_get_text(body, "request", true, &request_pem, &error) ||
		authority_certify(app->authority, renewing.site.name, request_pem, &certificate, &facts, &error))
		return reply_error(request, &error);
	renewing.site.expires_us = facts.not_after_us;
	if (store_write(app->store, renew, &renewing, &error) || auth_refresh(app->auth, &error))
		return reply_error(request, &error);
	log_info("certificate renewed", "site", renewing.site.name, NULL);
	return reply_json(
		request, 201, json_pack("{s:s, s:s}", "site", renewing.site.name, "certificate", certificate));
}

struct joining {
	struct app *app;
	const char *invitation, *request_pem;
	char name[64];
	char *certificate;
};

/* The invitation is used up and the site admitted together, or neither. */
static int join(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct joining *joining = argument;
	struct certificate_facts facts;
	struct new_site site = { .name = joining->name, .serial = facts.serial };
	char hash[65];

	auth_hash(joining->invitation, hash);
	if (invitation_use(tx, hash, joining->name, error) ||
		authority_certify(joining->app->authority, joining->name, joining->request_pem, &joining->certificate,
			&facts, error))
		return -1;
	site.expires_us = facts.not_after_us;
	return site_admit(tx, &site, error);
}

enum outcome site_join(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	struct joining joining = { .app = app };
	const char *address = request_address(request);
	json_t *answer;

	if (auth_may_try(app->auth, address, &error) || request_json(request, &body, &error) ||
		json_get_text(body, "invitation", true, &joining.invitation, &error) ||
		json_get_text(body, "request", true, &joining.request_pem, &error) ||
		store_write(app->store, join, &joining, &error) || auth_refresh(app->auth, &error)) {
		free(joining.certificate);
		if (error.kind == ERROR_UNAUTHENTICATED) {
			auth_tried(app->auth, address, false);
			log_warn("invitation refused", "address", address, "reason", error.message, NULL);
		}
		return reply_error(request, &error);
	}
	auth_tried(app->auth, address, true);
	log_info("site joined", "site", joining.name, "address", address, NULL);
	answer = json_pack("{s:s, s:s, s:s}", "site", joining.name, "certificate", joining.certificate, "authority",
		app->authority->ca_pem);
	free(joining.certificate);
	return reply_json(request, 201, answer);
}

struct site_change {
	const char *name, *state;
	json_t *row;
};

static int change_site(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct site_change *change = argument;
	json_auto_t *before = NULL;

	if (site_find(tx, change->name, &before, error))
		return -1;
	if (!strcmp(json_text_or(before, "state", ""), "removed"))
		return error_set(error, ERROR_CONFLICT, "the site was removed; invite it again");
	return site_set_state(tx, change->name, change->state, error) ||
			       site_find(tx, change->name, &change->row, error)
		       ? -1
		       : 0;
}

enum outcome site_edit(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	struct site_change change = { .name = request_parameter(request, "site"), .state = "" };

	if (request_json(request, &body, &error) || json_get_text(body, "state", true, &change.state, &error))
		return reply_error(request, &error);
	if (strcmp(change.state, "active") != 0 && strcmp(change.state, "draining") != 0)
		error_field(&error, "state", "must be \"active\" or \"draining\"");
	if (error.kind || store_write(app->store, change_site, &change, &error) || auth_refresh(app->auth, &error)) {
		json_decref(change.row);
		return reply_error(request, &error);
	}
	engine_kick(app->engine);
	log_info("site changed", "site", change.name, "state", change.state, "by", request_caller(request)->name,
		NULL);
	add_presence(app, change.row);
	return reply_json(request, 200, change.row);
}

static int remove_site(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct site_query *query = argument;

	return site_find(tx, query->name, &query->rows, error) || site_set_state(tx, query->name, "removed", error)
		       ? -1
		       : 0;
}

enum outcome site_delete(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct site_query query = { .name = request_parameter(request, "site") };
	int failed;

	failed = store_write(app->store, remove_site, &query, &error) || auth_revoked(app->auth, &error);
	json_decref(query.rows);
	if (failed)
		return reply_error(request, &error);
	engine_site_gone(app->engine, query.name);
	log_info("site removed", "site", query.name, "by", request_caller(request)->name, NULL);
	return reply_empty(request, 204);
}

enum outcome authority_show(struct request *request, void *context)
{
	struct app *app = context;

	return reply_json(request, 200,
		json_pack("{s:s, s:s}", "certificate", app->authority->ca_pem, "fingerprint",
			app->authority->fingerprint));
}
