#include "server/routes/app.h"

#include <stdio.h>
#include <string.h>

static int find_caller(struct request *request, struct app *app, struct caller *caller, struct rounds_error *error)
{
	const char *authorization = request_header(request, "Authorization");
	const char *name, *serial;

	if (authorization) {
		if (strncasecmp(authorization, "Bearer ", 7) != 0)
			return error_set(error, ERROR_UNAUTHENTICATED, "send `Authorization: Bearer TOKEN`");
		if (auth_token(app->auth, authorization + 7, caller->name, caller->role, error))
			return -1;
		caller->kind = CALLER_PERSON;
		return 0;
	}
	if (!request_peer(request, &name, &serial))
		return error_set(error, ERROR_UNAUTHENTICATED,
			"send a token (`Authorization: Bearer TOKEN`) or connect with a site's certificate");
	if (auth_site(app->auth, name, serial, error))
		return -1;
	caller->kind = CALLER_SITE;
	snprintf(caller->name, sizeof(caller->name), "%s", name);
	return 0;
}

int guard(struct request *request, void *context, struct rounds_error *error)
{
	enum permission wanted = (enum permission)request_route(request)->permission;
	struct caller *caller = request_caller(request);

	if (wanted == ANYONE)
		return 0;
	if (find_caller(request, context, caller, error))
		return -1;
	if (caller->kind == CALLER_SITE ? site_may(wanted) : role_may(caller->role, wanted))
		return 0;
	if (caller->kind == CALLER_SITE)
		return error_set(error, ERROR_FORBIDDEN, "sites may not do this");
	if (wanted == TASK_DO)
		return error_set(error, ERROR_FORBIDDEN, "only a site, with its certificate, may do this");
	return error_set(error, ERROR_FORBIDDEN, "the role \"%s\" does not allow this", caller->role);
}

void caller_owner(const struct caller *caller, char owner[80])
{
	snprintf(owner, 80, "%s:%s", caller->kind == CALLER_SITE ? "site" : "person", caller->name);
}
