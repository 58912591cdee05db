#include "server/routes/app.h"

#include "common/json.h"
#include "common/protocol.h"
#include "server/engine/spec.h"

#include <string.h>

/* api/openapi.json, put into the program by the assembler. */
__asm__(".section .rodata\n"
	".global openapi_begin\n"
	"openapi_begin:\n"
	".incbin \"" OPENAPI_FILE "\"\n"
	".byte 0\n"
	".previous\n");
extern const char openapi_begin[];

enum outcome healthz(struct request *request, void *context)
{
	(void)context;
	return reply_json(request, 200, json_pack("{s:s}", "status", "alive"));
}

static int touch(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	(void)tx;
	(void)argument;
	(void)error;
	return 0;
}

enum outcome readyz(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };

	if (store_write(app->store, touch, NULL, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, json_pack("{s:s}", "status", "ready"));
}

enum outcome version_show(struct request *request, void *context)
{
	struct app *app = context;

	return reply_json(request, 200,
		json_pack("{s:s, s:i, s:s}", "version", ROUNDS_VERSION, "protocol", PROTOCOL_VERSION, "authority",
			app->authority->fingerprint));
}

enum outcome whoami(struct request *request, void *context)
{
	const struct caller *caller = request_caller(request);

	(void)context;
	return reply_json(request, 200,
		json_pack("{s:s, s:s, s:o}", "name", caller->name, "role", caller->role, "may",
			role_permissions(caller->role)));
}

enum outcome openapi_show(struct request *request, void *context)
{
	(void)context;
	return reply_text(request, 200, "application/json", strdup(openapi_begin));
}

enum outcome job_schema_show(struct request *request, void *context)
{
	(void)context;
	return reply_json(request, 200, spec_schema());
}
