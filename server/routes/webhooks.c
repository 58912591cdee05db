#include "server/routes/app.h"

#include "common/fields.h"
#include "common/json.h"
#include "common/uuid.h"
#include "server/observe/webhook_parts.h"
#include "server/store/webhooks.h"

#include <string.h>

static const struct field fields[] = {
	{ "url", FIELD_TEXT, "Where to POST", .min = 1, .max = 2000 },
	{ "events", FIELD_NAMES, "Kinds of events to tell", .min = 1, .max = 40 },
	{ "state", FIELD_TEXT, "active, or paused: what happens meanwhile is told later",
		.choices = { "active", "paused" } },
	{ NULL },
};

static bool is_kind(const char *name)
{
	for (size_t i = 0; event_kinds[i]; i++)
		if (!strcmp(event_kinds[i], name))
			return true;
	return false;
}

/* A checked copy of the body: a new reference. */
static int read_body(struct request *request, json_t **body, struct rounds_error *error)
{
	json_auto_t *given = NULL, *faults = json_array();
	const char *url;
	size_t i;
	json_t *kind;

	if (request_json(request, &given, error))
		return -1;
	*body = fields_apply(fields, given, "", faults);
	if (!*body)
		return fields_error(faults, error);
	json_array_foreach (json_object_get(*body, "events"), i, kind)
		if (!is_kind(json_string_value(kind)))
			return error_field(error, "events",
				"must be kinds of events such as completed, not \"%.40s\"", json_string_value(kind));
	url = json_text_or(*body, "url", NULL);
	return url ? webhook_check_url(url, error) : 0;
}

static json_t *default_kinds(void)
{
	json_t *kinds = json_array();

	for (size_t i = 0; i < WEBHOOK_DEFAULT_KINDS; i++)
		json_array_append_new(kinds, json_string(event_kinds[i]));
	return kinds;
}

static int insert(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return webhook_insert(tx, argument, error);
}

enum outcome webhook_create(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL, *kinds = NULL;
	char id[UUID_TEXT_SIZE], secret[WEBHOOK_SECRET_SIZE];
	struct new_webhook webhook = { .id = id, .secret = secret, .by = request_caller(request)->name };

	uuid_new(app->world, id);
	webhook_secret(app->world, secret);
	if (read_body(request, &body, &error) || json_get_text(body, "url", true, &webhook.url, &error))
		return reply_error(request, &error);
	kinds = json_object_get(body, "events") ? json_incref(json_object_get(body, "events")) : default_kinds();
	webhook.kinds = kinds;
	if (store_write(app->store, insert, &webhook, &error))
		return reply_error(request, &error);
	webhooks_touch(app->webhooks);
	return reply_json(request, 201,
		json_pack("{s:s, s:s, s:O, s:s, s:s}", "id", id, "url", webhook.url, "events", kinds, "state",
			"active", "secret", secret));
}

static int read_all(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return webhook_list(tx, argument, error);
}

enum outcome webhook_list_all(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_t *webhooks = NULL;

	if (store_read(app->store, read_all, &webhooks, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, json_pack("{s:o}", "items", webhooks));
}

struct one {
	const char *id;
	const json_t *changes;
	json_t *row;
};

static int read_one(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct one *one = argument;

	return webhook_find(tx, one->id, &one->row, error);
}

static enum outcome reply_one(struct request *request, struct app *app, int status)
{
	struct one one = { .id = request_parameter(request, "webhook") };
	struct rounds_error error = { 0 };

	if (store_read(app->store, read_one, &one, &error))
		return reply_error(request, &error);
	return reply_json(request, status, one.row);
}

enum outcome webhook_show(struct request *request, void *context)
{
	return reply_one(request, context, 200);
}

static int change(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct one *one = argument;

	return webhook_change(tx, one->id, json_text_or(one->changes, "url", NULL),
		json_object_get(one->changes, "events"), json_text_or(one->changes, "state", NULL), error);
}

enum outcome webhook_edit(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	struct one one = { .id = request_parameter(request, "webhook") };

	if (read_body(request, &body, &error))
		return reply_error(request, &error);
	one.changes = body;
	if (store_write(app->store, change, &one, &error))
		return reply_error(request, &error);
	webhooks_touch(app->webhooks);
	return reply_one(request, app, 200);
}

/* What comes of it stands in the row: `tried`, `tried_status`, `tried_fault`. */
enum outcome webhook_test(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct one one = { .id = request_parameter(request, "webhook") };

	if (store_read(app->store, read_one, &one, &error))
		return reply_error(request, &error);
	json_decref(one.row);
	if (webhooks_ping(app->webhooks, one.id, &error))
		return reply_error(request, &error);
	return reply_one(request, app, 202);
}

static int remove_one(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return webhook_delete(tx, argument, error);
}

enum outcome webhook_remove(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };

	if (store_write(app->store, remove_one, (void *)(uintptr_t)request_parameter(request, "webhook"), &error))
		return reply_error(request, &error);
	webhooks_touch(app->webhooks);
	return reply_empty(request, 204);
}
