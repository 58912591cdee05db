/* The one way from a request that has arrived to its handler: who asks is looked at again, and what came of it is recorded. */
#include "server/routes/app.h"

#include "server/store/identities.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* A request on its way through. */
struct passage {
	struct app *app;
	struct request *request;
	const struct caller *caller;
	const char *record;   /* NULL: nothing is recorded of it */
	atomic_bool recorded; /* with what it wrote */
};

struct credential caller_credential(const struct caller *caller, char kind[16])
{
	const char *key = strchr(caller->credential, ':');
	struct credential credential = { kind, "", caller->name, caller->role };

	kind[0] = '\0';
	if (key && key - caller->credential < 16) {
		memcpy(kind, caller->credential, (size_t)(key - caller->credential));
		kind[key - caller->credential] = '\0';
		credential.key = key + 1;
	}
	return credential;
}

static int check_credential(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct passage *passage = argument;
	char kind[16];
	const struct credential credential = caller_credential(passage->caller, kind);

	return passage->caller->kind == CALLER_NOBODY ? 0 : credential_check(tx, &credential, error);
}

/*
 * What sites fetch, bring and report is their task's history already; of them the log holds how they come and go, and what
 * was refused.
 */
static const char *record_of(const struct request *request)
{
	const struct route *route = request_route(request);

	return request_caller((struct request *)(uintptr_t)request)->kind == CALLER_SITE &&
			       route->permission != TASK_DO
		       ? NULL
		       : route->record;
}

/* What a path names next: "job" of "{job}"; returns what comes behind it, NULL if it names nothing. */
static const char *next_object(const char *path, char kind[32])
{
	const char *begin = strchr(path, '{'), *end = begin ? strchr(begin, '}') : NULL;

	if (end)
		snprintf(kind, 32, "%.*s", (int)(end - begin - 1), begin + 1);
	return end;
}

/* What the path names first, and its value; false if it names nothing. */
static bool find_object(const struct request *request, char kind[32], const char **id)
{
	if (!next_object(request_route(request)->path, kind))
		return false;
	*id = request_parameter(request, kind);
	return true;
}

struct object {
	const struct scope *scope;
	const char *owner, *kind, *id;
};

static int read_object(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct object *object = argument;

	return scope_check(tx, object->scope, object->owner, object->kind, object->id, error);
}

int object_check(
	struct app *app, const struct caller *caller, const char *kind, const char *id, struct rounds_error *error)
{
	char owner[80];
	struct object object = { caller->scope, owner, kind, id };

	if (scope_is_all(caller->scope))
		return 0;
	caller_owner(caller, owner);
	return store_read(app->store, read_object, &object, error);
}

static int check_objects(const struct passage *passage, struct rounds_error *error)
{
	const struct route *route = request_route(passage->request);
	const char *rest = route->path;
	char kind[32];

	while (route->permission != ANYONE && (rest = next_object(rest, kind)))
		if (object_check(
			    passage->app, passage->caller, kind, request_parameter(passage->request, kind), error))
			return -1;
	return 0;
}

static void say(struct request *request, const char *kind, int status, struct audit_entry *entry, char object[32])
{
	const struct caller *caller = request_caller(request);

	*entry = (struct audit_entry){ .kind = kind,
		.by = caller->name,
		.role = caller->role,
		.credential = caller->credential,
		.from = request_address(request),
		.status = status,
		.request = request_id(request) };
	if (find_object(request, object, &entry->about_id))
		entry->about_kind = object;
}

void door_refused(struct request *request, struct app *app, const struct rounds_error *error)
{
	const struct route *route = request_route(request);
	struct audit_entry entry;
	char object[32];

	say(request, route->record ? route->record : permission_name((enum permission)route->permission),
		error_kind_info(error->kind)->status, &entry, object);
	audit_count(app->audit, &entry);
}

static void mark_recorded(void *context, const char *key)
{
	struct passage *passage = context;

	(void)key;
	atomic_store(&passage->recorded, true);
}

/* Runs with the first write of the handler that is committed. */
static int record_write(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct passage *passage = argument;
	struct audit_entry entry;
	char object[32];

	if (!passage->record || atomic_load(&passage->recorded))
		return 0;
	say(passage->request, passage->record, 200, &entry, object);
	return audit_append(tx, passage->app->audit, &entry, error) ||
			       store_after_commit(tx, mark_recorded, passage, "", error)
		       ? -1
		       : 0;
}

static bool is_refusal(int status)
{
	return status == 401 || status == 403 || status == 429;
}

/* Weights leave only where that is on record; whatever else does not change anything goes on while the disk is full. */
static enum outcome record_answer(struct passage *passage)
{
	struct request *request = passage->request;
	const struct route *route = request_route(request);
	int status = reply_status(request);
	struct rounds_error error = { 0 };
	struct audit_entry entry;
	char object[32];

	if (status >= 400) {
		say(request, route->record ? route->record : permission_name((enum permission)route->permission),
			status, &entry, object);
		if (route->record || is_refusal(status))
			audit_count(passage->app->audit, &entry);
		return REPLIED;
	}
	if (!passage->record || atomic_load(&passage->recorded))
		return REPLIED;
	say(request, passage->record, status, &entry, object);
	if (!audit_record(passage->app->audit, &entry, &error) || route->permission != BLOB_READ)
		return REPLIED;
	reply_withdraw(request);
	return reply_error(request, &error);
}

enum outcome door(struct request *request, void *context)
{
	struct rounds_error error = { 0 };
	struct passage passage = { .app = context, .request = request, .caller = request_caller(request) };
	const struct store_witness witness = { check_credential, record_write, &passage };
	enum outcome outcome;

	if (guard(request, context, &error))
		return reply_error(request, &error);
	passage.record = record_of(request);
	store_attend(&witness);
	outcome = check_objects(&passage, &error) ? reply_error(request, &error)
						  : request_route(request)->handler(request, context);
	store_attend(NULL);
	return outcome == REPLIED ? record_answer(&passage) : outcome;
}
