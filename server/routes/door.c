/* The one way from a request that has arrived to its handler. */
#include "server/routes/app.h"

#include "server/store/identities.h"

#include <string.h>

static int check_caller(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct caller *caller = argument;
	const char *key = strchr(caller->credential, ':');
	char kind[16] = "";
	struct credential credential = { kind, "", caller->name, caller->role };

	if (key && (size_t)(key - caller->credential) < sizeof(kind)) {
		memcpy(kind, caller->credential, (size_t)(key - caller->credential));
		credential.key = key + 1;
	}
	return credential_check(tx, &credential, error);
}

enum outcome door(struct request *request, void *context)
{
	struct rounds_error error = { 0 };
	struct caller *caller = request_caller(request);
	const struct store_witness witness = { check_caller, caller };
	enum outcome outcome;

	if (guard(request, context, &error))
		return reply_error(request, &error);
	store_attend(caller->kind == CALLER_NOBODY ? NULL : &witness);
	outcome = request_route(request)->handler(request, context);
	store_attend(NULL);
	return outcome;
}
