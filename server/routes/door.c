/* The one way from a request that has arrived to its handler. */
#include "server/routes/app.h"

#include "server/store/identities.h"

#include <string.h>

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

static int check_caller(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	char kind[16];
	const struct credential credential = caller_credential(argument, kind);

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
