/* The audit log, for those who may read it. */
#include "server/routes/app.h"

#include "common/json.h"
#include "server/store/audit_log.h"

enum { PAGE = 50, PAGE_LIMIT = 1000, PART = 10000 };

struct audit_query {
	struct audit_filter filter;
	json_t *rows;
};

static int read_entries(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct audit_query *query = argument;

	return audit_log_list(tx, &query->filter, &query->rows, error);
}

enum outcome audit_list(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct audit_query query = { .filter = { .kind = request_query(request, "kind"),
					     .by = request_query(request, "by"),
					     .about = request_query(request, "about"),
					     .outcome = request_query(request, "outcome"),
					     .before = INT64_MAX,
					     .limit = PAGE } };
	json_t *state = NULL, *next = NULL;

	if (request_query_integer(request, "cursor", 1, INT64_MAX, &query.filter.before, &error) ||
		request_query_integer(request, "limit", 1, PAGE_LIMIT, &query.filter.limit, &error) ||
		store_read(app->store, read_entries, &query, &error))
		return reply_error(request, &error);
	if (audit_state(app->audit, &state, &error)) {
		json_decref(query.rows);
		return reply_error(request, &error);
	}
	if ((int64_t)json_array_size(query.rows) == query.filter.limit)
		next = json_object_get(json_array_get(query.rows, json_array_size(query.rows) - 1), "n");
	return reply_json(
		request, 200, json_pack("{s:O?, s:o, s:o}", "next", next, "items", query.rows, "state", state));
}

enum outcome audit_export_part(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	int64_t after = 0;
	char *text;

	if (request_query_integer(request, "after", 0, INT64_MAX, &after, &error) ||
		audit_export(app->audit, after, PART, &text, &error))
		return reply_error(request, &error);
	return reply_text(request, 200, "application/jsonl", text);
}

enum outcome audit_key(struct request *request, void *context)
{
	struct app *app = context;

	return reply_json(request, 200, json_pack("{s:s}", "key", audit_public_key(app->audit)));
}
