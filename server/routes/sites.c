#include "server/routes/app.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "server/auth/sites.h"
#include "server/engine/site_keys.h"
#include "server/store/identities.h"
#include "server/store/invitations.h"

#include <stdio.h>
#include <string.h>

struct site_query {
	const char *name;
	json_t *rows;
};

static int read_sites(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct site_query *query = argument;

	return query->name ? site_find(tx, query->name, &query->rows, error) : site_list(tx, &query->rows, error);
}

/* Presence, and what people compare of its keys in place of the statement of them. */
static void complete_site(struct app *app, json_t *site)
{
	const char *name = json_text_or(site, "name", "");
	int64_t doubled = engine_site_doubled(app->engine, name);
	char since[TIME_TEXT_SIZE];

	json_object_set_new(site, "connected", json_boolean(engine_site_present(app->engine, name)));
	if (doubled)
		time_format(doubled, since);
	json_object_set_new(site, "doubled", doubled ? json_string(since) : json_null());
	json_object_set_new(site, "keys", site_keys_shown(json_text_or(site, "statement", NULL)));
	json_object_del(site, "statement");
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
		complete_site(app, site);
	return reply_json(request, 200, json_pack("{s:o}", "items", query.rows));
}

enum outcome site_show(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct site_query query = { .name = request_parameter(request, "site") };

	if (store_read(app->store, read_sites, &query, &error))
		return reply_error(request, &error);
	complete_site(app, query.rows);
	return reply_json(request, 200, query.rows);
}

enum outcome site_invite(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	const char *by = request_caller(request)->name;
	struct invitation invitation = { .site = "" };
	char until[TIME_TEXT_SIZE];

	if (request_json(request, &body, &error) ||
		json_only(body, (const char *const[]){ "site", "replace", NULL }, &error) ||
		json_get_text(body, "site", true, &invitation.site, &error) ||
		json_get_bool(body, "replace", false, &invitation.replaces, &error) ||
		auth_invite(app->auth, app->authority, by, &invitation, &error))
		return reply_error(request, &error);
	time_format(invitation.expires_us, until);
	log_info("site invited", "site", invitation.site, "by", by, "replaces", invitation.replaces ? "yes" : NULL,
		NULL);
	return reply_json(request, 201,
		json_pack("{s:s, s:s, s:s, s:s}", "id", invitation.id, "site", invitation.site, "invitation",
			invitation.text, "expires", until));
}

static int read_invitations(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return invitation_list(tx, argument, error);
}

enum outcome invitation_list_all(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_t *invitations = NULL;

	if (store_read(app->store, read_invitations, &invitations, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, json_pack("{s:o}", "items", invitations));
}

static int take_back(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return invitation_void(tx, argument, error);
}

enum outcome invitation_remove(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	const char *id = request_parameter(request, "invitation");

	if (store_write(app->store, take_back, (void *)(uintptr_t)id, &error))
		return reply_error(request, &error);
	log_info("invitation taken back", "invitation", id, "by", request_caller(request)->name, NULL);
	return reply_empty(request, 204);
}

static enum outcome reply_admission(struct request *request, const struct admission *admission)
{
	return reply_json(request, 201,
		json_pack("{s:s, s:s}", "site", admission->site, "certificate", admission->certificate));
}

/* The old certificate serves until its own end: connections that are open with it, and a site that loses the answer. */
enum outcome site_renew_own(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	struct admission admission = { 0 };
	const char *request_pem = "", *site, *serial;
	enum outcome outcome;

	if (!request_peer(request, &site, &serial))
		error_set(&error, ERROR_FORBIDDEN, "only a site, with its certificate, may do this");
	if (error.kind || request_json(request, &body, &error) ||
		json_get_text(body, "request", true, &request_pem, &error) ||
		auth_site_renew(app->auth, app->authority, site, serial, request_pem, &admission, &error)) {
		outcome = reply_error(request, &error);
	} else {
		log_info("certificate renewed", "site", admission.site, NULL);
		outcome = reply_admission(request, &admission);
	}
	free(admission.certificate);
	return outcome;
}

static enum outcome refuse_join(struct request *request, struct app *app, const struct rounds_error *error)
{
	const char *address = request_address(request);

	if (error->kind == ERROR_UNAUTHENTICATED) {
		auth_tried(app->auth, address, false);
		log_warn("invitation refused", "address", address, "reason", error->message, NULL);
	}
	return reply_error(request, error);
}

enum outcome site_join(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	struct admission admission = { 0 };
	const char *address = request_address(request), *invitation = "", *request_pem = "";
	enum outcome outcome;

	if (auth_may_try(app->auth, address, &error) || request_json(request, &body, &error) ||
		json_get_text(body, "invitation", true, &invitation, &error) ||
		json_get_text(body, "request", true, &request_pem, &error) ||
		auth_join(app->auth, app->authority, invitation, request_pem, &admission, &error)) {
		free(admission.certificate);
		return refuse_join(request, app, &error);
	}
	auth_tried(app->auth, address, true);
	if (admission.replaced)
		engine_site_gone(app->engine, admission.site);
	log_info(admission.replaced ? "site joined in the place of another" : "site joined", "site", admission.site,
		"address", address, NULL);
	outcome = reply_admission(request, &admission);
	free(admission.certificate);
	return outcome;
}

enum outcome site_edit(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	json_t *row = NULL;
	const char *state = "", *caller = request_caller(request)->name;
	struct site_change change = { .site = request_parameter(request, "site"), .caller = caller, .answer = &row };

	if (request_json(request, &body, &error) ||
		json_only(body, (const char *const[]){ "state", "now", NULL }, &error) ||
		json_get_text(body, "state", true, &state, &error) ||
		json_get_bool(body, "now", false, &change.now, &error))
		return reply_error(request, &error);
	change.drain = !strcmp(state, "draining");
	if (!change.drain && strcmp(state, "active") != 0)
		error_field(&error, "state", "must be \"active\" or \"draining\"");
	else if (change.now && !change.drain)
		error_field(&error, "now", "is for a site that is drained");
	if (error.kind || engine_change_site(app->engine, &change, &error) || auth_refresh(app->auth, &error)) {
		json_decref(row);
		return reply_error(request, &error);
	}
	log_info("site changed", "site", change.site, "state", state, "now", change.now ? "yes" : NULL, "by", caller,
		NULL);
	complete_site(app, row);
	return reply_json(request, 200, row);
}

enum outcome site_delete(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	const char *site = request_parameter(request, "site");

	if (auth_site_remove(app->auth, site, &error))
		return reply_error(request, &error);
	engine_site_gone(app->engine, site);
	log_info("site removed", "site", site, "by", request_caller(request)->name, NULL);
	return reply_empty(request, 204);
}

enum outcome authority_show(struct request *request, void *context)
{
	struct app *app = context;

	return reply_json(request, 200,
		json_pack("{s:s, s:s}", "certificate", app->authority->ca_pem, "fingerprint",
			app->authority->fingerprint));
}
