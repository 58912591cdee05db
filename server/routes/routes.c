/* Every path of the API. The table is the server's contract: a test holds api/openapi.json against it. */
#include "server/routes/app.h"

#define TUS_BODY ((size_t)1 << 20) /* what may come along with the creation of an upload */

/* A table is read by its columns. */
/* clang-format off */
const struct route routes[] = {
	/* method, path, who may, handler, what it is for, and the name under which the audit log knows it */
	{ "POST", "/api/v1/jobs", JOB_WRITE, job_submit, "Submit a job", .record = "job.submit" },
	{ "GET", "/api/v1/jobs", JOB_READ, job_list_page, "Jobs, newest first" },
	{ "POST", "/api/v1/jobs/check", JOB_WRITE, job_check_only, "What submitting a job would do, without submitting it" },
	{ "GET", "/api/v1/jobs/{job}", JOB_READ, job_show, "One job" },
	{ "PATCH", "/api/v1/jobs/{job}", JOB_WRITE, job_edit_one, "Change a job's name or priority", .record = "job.edit" },
	{ "DELETE", "/api/v1/jobs/{job}", JOB_WRITE, job_delete_one, "Delete a job that has ended", .record = "job.delete" },
	{ "POST", "/api/v1/jobs/{job}/pause", JOB_WRITE, job_pause, "Pause a running job", .record = "job.pause" },
	{ "POST", "/api/v1/jobs/{job}/resume", JOB_WRITE, job_resume, "Let a paused job go on", .record = "job.resume" },
	{ "POST", "/api/v1/jobs/{job}/abort", JOB_WRITE, job_abort, "End a job", .record = "job.abort" },
	{ "GET", "/api/v1/jobs/{job}/waiting", JOB_READ, job_waiting, "Whom a job waits for, and since when" },
	{ "GET", "/api/v1/jobs/{job}/schema", JOB_READ, job_schema, "What the sites of a job agreed on, and who differs" },
	{ "POST", "/api/v1/jobs/{job}/skip", JOB_WRITE, job_skip, "Let a round go on without a site", .record = "job.skip" },
	{ "GET", "/api/v1/jobs/{job}/rounds", JOB_READ, job_rounds, "A job's rounds, with their manifests" },
	{ "GET", "/api/v1/jobs/{job}/tasks", JOB_READ, job_tasks, "A job's tasks" },
	{ "GET", "/api/v1/jobs/{job}/events", JOB_READ, job_events, "What has happened; waits for more if asked" },
	{ "GET", "/api/v1/jobs/{job}/metrics", JOB_READ, job_metrics, "Metrics by round and site" },
	{ "GET", "/api/v1/jobs/{job}/curves", JOB_READ, job_curves, "Metrics as columns, for plots" },
	{ "GET", "/api/v1/jobs/{job}/timeline", JOB_READ, job_timeline, "Rounds and tasks as columns, for plots" },
	{ "GET", "/api/v1/jobs/{job}/models", JOB_READ, job_models, "A job's kept models" },
	{ "POST", "/api/v1/jobs/{job}/verifications", JOB_READ, job_verify, "Ask for a proof of the job's lineage", .record = "job.verify" },
	{ "GET", "/api/v1/jobs/{job}/verifications/{verification}", JOB_READ, job_verification, "A proof" },

	{ "GET", "/api/v1/events", JOB_READ, live_events, "What has happened, newest first; or live, as Server-Sent Events" },

	{ "POST", "/api/v1/tasks/claim", TASK_DO, task_claim, "Wait for the next task" },
	{ "POST", "/api/v1/tasks/{task}/heartbeat", TASK_DO, task_heartbeat, "Keep a task's lease, report progress" },
	{ "POST", "/api/v1/tasks/{task}/result", TASK_DO, task_result, "Deliver a task's result" },
	{ "POST", "/api/v1/tasks/{task}/failure", TASK_DO, task_failure, "Say that a task failed" },
	{ "POST", "/api/v1/tasks/{task}/release", TASK_DO, task_give_back, "Give a task back" },
	{ "POST", "/api/v1/tasks/leave", TASK_DO, task_leave, "Say that the site stops and waits for no more tasks" },

	{ "OPTIONS", "/api/v1/uploads", ANYONE, upload_options, "What of tus this server speaks" },
	{ "GET", "/api/v1/uploads", JOB_READ, upload_loads, "Who has brought what that no job uses yet" },
	{ "POST", "/api/v1/uploads", BLOB_WRITE, upload_post, "Create an upload (tus)", .body_limit = TUS_BODY, .record = "upload.create" },
	{ "HEAD", "/api/v1/uploads/{upload}", BLOB_WRITE, upload_head, "How much of an upload has arrived (tus)" },
	{ "PATCH", "/api/v1/uploads/{upload}", BLOB_WRITE, upload_patch, "Send a part of an upload (tus)",
		.sink = &upload_sink },
	{ "DELETE", "/api/v1/uploads/{upload}", BLOB_WRITE, upload_remove_one, "Give an upload up (tus)", .record = "upload.delete" },
	{ "GET", "/api/v1/blobs/{digest}", BLOB_READ, blob_get, "Weights, whole or a range", .record = "model.download" },
	{ "GET", "/api/v1/blobs/{digest}/tensors", BLOB_READ, blob_tensors, "Names, shapes and dtypes of weights", .record = "model.view" },

	{ "GET", "/api/v1/sites", SITE_READ, site_list_all, "All sites" },
	{ "GET", "/api/v1/sites/{site}", SITE_READ, site_show, "One site" },
	{ "PATCH", "/api/v1/sites/{site}", SITE_MANAGE, site_edit, "Drain a site, or let it take part again", .record = "site.edit" },
	{ "DELETE", "/api/v1/sites/{site}", SITE_MANAGE, site_delete, "Remove a site: its certificate is refused from now on", .record = "site.remove" },
	{ "POST", "/api/v1/invitations", SITE_MANAGE, site_invite, "Invite a site", .record = "site.invite" },
	{ "GET", "/api/v1/invitations", SITE_MANAGE, invitation_list_all, "All invitations, without their secrets" },
	{ "DELETE", "/api/v1/invitations/{invitation}", SITE_MANAGE, invitation_remove, "Take an invitation back", .record = "site.uninvite" },
	{ "POST", "/api/v1/join", ANYONE, site_join, "Turn an invitation into a certificate", .record = "site.join" },
	{ "POST", "/api/v1/certificate", TASK_DO, site_renew_own, "A new certificate in place of one that nears its end", .record = "site.renew" },
	{ "GET", "/api/v1/peers", TASK_DO, peer_list, "What all sites say of their keys, for sites to pin" },
	{ "GET", "/api/v1/authority", ANYONE, authority_show, "The certificate authority of this server" },

	{ "POST", "/api/v1/tokens", ACCOUNT_MANAGE, token_create, "Make a token; it is shown once", .record = "token.create" },
	{ "GET", "/api/v1/tokens", ACCOUNT_MANAGE, token_list_all, "All tokens, without their secrets" },
	{ "DELETE", "/api/v1/tokens/{token}", ACCOUNT_MANAGE, token_remove, "Revoke a token", .record = "token.remove" },

	{ "POST", "/api/v1/webhooks", WEBHOOK_MANAGE, webhook_create, "Tell another system of events; the secret is shown once", .record = "webhook.create" },
	{ "GET", "/api/v1/webhooks", WEBHOOK_MANAGE, webhook_list_all, "All webhooks, and how their deliveries go" },
	{ "GET", "/api/v1/webhooks/{webhook}", WEBHOOK_MANAGE, webhook_show, "One webhook" },
	{ "PATCH", "/api/v1/webhooks/{webhook}", WEBHOOK_MANAGE, webhook_edit, "Change a webhook, pause it, let it go on", .record = "webhook.edit" },
	{ "POST", "/api/v1/webhooks/{webhook}/ping", WEBHOOK_MANAGE, webhook_test, "Send a webhook's receiver a test", .record = "webhook.ping" },
	{ "DELETE", "/api/v1/webhooks/{webhook}", WEBHOOK_MANAGE, webhook_remove, "Remove a webhook", .record = "webhook.remove" },

	{ "POST", "/api/v1/users", ACCOUNT_MANAGE, user_create, "Make an account; its set-up link is shown once", .record = "user.create" },
	{ "GET", "/api/v1/users", ACCOUNT_MANAGE, user_list_all, "All accounts" },
	{ "PATCH", "/api/v1/users/{user}", ACCOUNT_MANAGE, user_edit, "Give an account another role", .record = "user.edit" },
	{ "POST", "/api/v1/users/{user}/reset", ACCOUNT_MANAGE, user_reset_one, "A new set-up link in place of the password", .record = "user.reset" },
	{ "DELETE", "/api/v1/users/{user}", ACCOUNT_MANAGE, user_remove, "Remove an account", .record = "user.remove" },
	{ "POST", "/api/v1/session", ANYONE, session_open, "Sign in with name and password", .record = "session.open" },
	{ "POST", "/api/v1/session/setup", ANYONE, session_setup, "Choose a password with a set-up link, and sign in", .record = "session.setup" },
	{ "GET", "/api/v1/session", SELF, session_show, "The session of this browser" },
	{ "DELETE", "/api/v1/session", SELF, session_close, "Sign out, here or everywhere", .record = "session.close" },
	{ "POST", "/api/v1/session/password", SELF, password_change, "Change the own password", .record = "session.password" },

	{ "GET", "/api/v1/audit", AUDIT_READ, audit_list, "Who did what, newest first" },
	{ "GET", "/api/v1/audit/export", AUDIT_READ, audit_export_part, "The audit log as lines that prove themselves", .record = "audit.export" },
	{ "GET", "/api/v1/audit/key", AUDIT_READ, audit_key, "The public key of the audit log's signatures" },

	{ "GET", "/api/v1/health", JOB_READ, health_show, "What an operator should know of the server itself" },
	{ "GET", "/api/v1/whoami", SELF, whoami, "Who this token is" },
	{ "GET", "/api/v1/version", ANYONE, version_show, "Versions of server and protocol" },
	{ "GET", "/api/v1/openapi.json", ANYONE, openapi_show, "This API, described" },
	{ "GET", "/api/v1/job.schema.json", ANYONE, job_schema_show, "What a job may say, as a JSON Schema" },
	{ "GET", "/healthz", ANYONE, healthz, "The process lives" },
	{ "GET", "/readyz", ANYONE, readyz, "The server can work" },
	{ "GET", "/metrics", JOB_READ, metrics_show, "What Prometheus collects" },
	{ "GET", "/", ANYONE, web_index, "The dashboard" },
	{ "GET", "/assets/{file}", ANYONE, web_asset, "A file of the dashboard" },
	{ NULL },
};
/* clang-format on */
