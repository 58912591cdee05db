#include "server/routes/app.h"

#include "common/clock.h"
#include "common/json.h"
#include "server/store/identities.h"

enum outcome token_create(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_auto_t *body = NULL;
	const char *name = "", *role = "viewer";
	int64_t days = 0;
	char secret[80], id[UUID_TEXT_SIZE], kind[16];
	const struct credential maker = caller_credential(request_caller(request), kind);

	if (request_json(request, &body, &error) ||
		json_only(body, (const char *const[]){ "name", "role", "expires_days", NULL }, &error) ||
		json_get_text(body, "name", true, &name, &error) ||
		json_get_text(body, "role", false, &role, &error) ||
		json_get_integer(body, "expires_days", false, 0, 36500, &days, &error) ||
		auth_token_new(app->auth, &maker, name, role,
			days ? world_wall_us(app->world) + days * 86400 * SECOND_US : 0, secret, id, &error))
		return reply_error(request, &error);
	return reply_json(request, 201,
		json_pack("{s:s, s:s, s:s, s:s}", "id", id, "name", name, "role", role, "token", secret));
}

static int read_tokens(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return token_list(tx, argument, error);
}

enum outcome token_list_all(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	json_t *tokens = NULL;

	if (store_read(app->store, read_tokens, &tokens, &error))
		return reply_error(request, &error);
	return reply_json(request, 200, json_pack("{s:o}", "items", tokens));
}

static int delete_token(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return token_delete(tx, argument, error);
}

enum outcome token_remove(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };

	if (store_write(app->store, delete_token, (void *)(uintptr_t)request_parameter(request, "token"), &error) ||
		auth_revoked(app->auth, &error))
		return reply_error(request, &error);
	return reply_empty(request, 204);
}
