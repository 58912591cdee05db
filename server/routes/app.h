/* What handlers work with. Handlers are glue: one call of a room behind them, and its answer as JSON. */
#ifndef ROUNDS_SERVER_ROUTES_APP_H
#define ROUNDS_SERVER_ROUTES_APP_H

#include "server/audit/audit.h"
#include "server/auth/auth.h"
#include "server/auth/authority.h"
#include "server/blobs/blobs.h"
#include "server/engine/engine.h"
#include "server/http/http.h"
#include "server/observe/feed.h"
#include "server/observe/webhooks.h"
#include "server/routes/web.h"
#include "server/store/identities.h"
#include "server/store/projects.h"
#include "server/store/store.h"

struct app {
	struct store *store;
	struct blobs *blobs;
	struct world *world;
	struct auth *auth;
	struct audit *audit;
	struct engine *engine;
	struct http *http;
	struct feed *feed;
	struct webhooks *webhooks;
	struct web *web;
	const struct authority *authority;
	bool is_copy; /* of another data directory: only shown */
};

extern const struct route routes[];

/* The guard of http_options: finds out who asks and whether the route's permission is theirs. */
int guard(struct request *request, void *app, struct rounds_error *error);

/*
 * The door of http_options: looks at the caller again, since a body may take long and a wait longer, and lets the handler
 * run. What the handler writes is refused in its transaction if the caller's credential has been taken back by then. What the
 * route's `record` names goes into the audit log: in the transaction of what the handler wrote, or before its answer leaves.
 */
handler_fn door;
/* ERROR_NOT_FOUND, as if there were none, unless the object is in the caller's scope. Asked of all that a path names, by the door. */
must_check int object_check(
	struct app *app, const struct caller *caller, const char *kind, const char *id, struct rounds_error *error);
/* A refusal of the guard's, for the audit log. */
void door_refused(struct request *request, struct app *app, const struct rounds_error *error);

/* "site:NAME" or "person:NAME": the owner of what the caller uploads; 80 bytes. */
void caller_owner(const struct caller *caller, char owner[80]);

/* What the caller has shown, as the store knows it; its texts live as long as the caller and `kind`. */
struct credential caller_credential(const struct caller *caller, char kind[16]);

/* The prefix __Host- makes browsers take it from this host alone, over HTTPS. */
#define SESSION_COOKIE "__Host-rounds"
#define DEVICE_COOKIE  "__Host-rounds-device"

/* live.c: a stream of what happens, to one job or to all (NULL). */
bool wants_stream(const struct request *request);
enum outcome reply_live(struct request *request, struct app *app, const char *job);
handler_fn live_events;

/* jobs.c */
handler_fn job_submit, job_check_only, job_waiting, job_schema, job_skip, job_list_page, job_show, job_edit_one,
	job_delete_one, job_pause, job_resume, job_abort;
handler_fn job_rounds, job_tasks, job_events, job_metrics, job_models, job_verify, job_verification;
/* charts.c */
handler_fn job_timeline, job_curves;
/* tasks.c */
handler_fn task_claim, task_heartbeat, task_result, task_failure, task_give_back, task_leave;
/* sites.c */
handler_fn site_list_all, site_show, site_edit, site_invite, invitation_list_all, invitation_remove, site_join,
	site_renew_own, site_delete, authority_show;
/* peers.c */
handler_fn peer_list;
/* audit.c */
handler_fn audit_list, audit_export_part, audit_key;
/* tokens.c */
handler_fn token_create, token_list_all, token_remove;
/* webhooks.c */
handler_fn webhook_create, webhook_list_all, webhook_show, webhook_edit, webhook_test, webhook_remove;
/* people.c */
handler_fn user_create, user_list_all, user_edit, user_reset_one, user_remove;
handler_fn session_open, session_setup, session_show, session_close, password_change;
/* web.c */
handler_fn web_index, web_asset;
/* uploads.c */
handler_fn upload_options, upload_loads, upload_post, upload_head, upload_patch, upload_remove_one;
extern const struct body_sink upload_sink;
/* blobs.c */
handler_fn blob_get, blob_tensors;
/* health.c */
handler_fn health_show;
/* metrics.c */
handler_fn metrics_show;
/* about.c */
handler_fn healthz, readyz, version_show, openapi_show, job_schema_show, whoami;

#endif
