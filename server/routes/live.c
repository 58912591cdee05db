/* Events of all jobs, as a list or as a stream. */
#include "server/routes/app.h"

#include "common/json.h"
#include "server/observe/feed.h"
#include "server/store/rounds.h"

#include <stdlib.h>
#include <string.h>

/* A watcher ends when somebody has lost a right: whoever still has it comes back. */
struct live {
	struct auth *auth;
	struct watcher *watcher;
	uint64_t revocations;
};

static ssize_t live_read(void *context, char *buffer, size_t room)
{
	struct live *live = context;

	if (auth_revocations(live->auth) != live->revocations)
		return -1;
	return watcher_read(live->watcher, buffer, room);
}

static void live_close(void *context)
{
	struct live *live = context;

	watcher_close(live->watcher);
	free(live);
}

static int64_t last_seen(const struct request *request)
{
	const char *text = request_header(request, "Last-Event-ID");
	char *end;
	long long number;

	if (!text)
		text = request_query(request, "last_event_id");
	if (!text || !*text)
		return -1;
	number = strtoll(text, &end, 10);
	return *end || number < 0 ? -1 : number;
}

bool wants_stream(const struct request *request)
{
	const char *accept = request_header(request, "Accept");

	return accept && strstr(accept, "text/event-stream");
}

enum outcome reply_live(struct request *request, struct app *app, const char *job)
{
	struct rounds_error error = { 0 };
	struct live *live = calloc(1, sizeof(*live));

	if (!live) {
		(void)error_no_memory(&error);
		return reply_error(request, &error);
	}
	live->auth = app->auth;
	live->revocations = auth_revocations(app->auth);
	if (feed_watch(app->feed, request_caller(request)->scope, job, last_seen(request), &live->watcher, &error)) {
		free(live);
		return reply_error(request, &error);
	}
	return reply_stream(
		request, "text/event-stream", &(const struct stream_source){ live_read, live_close, live });
}

struct page {
	const struct scope *scope;
	int64_t before, limit;
	json_t *rows;
};

static int read_newest(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct page *page = argument;

	return event_list_newest(tx, page->scope, page->before, page->limit, &page->rows, error);
}

enum outcome live_events(struct request *request, void *context)
{
	struct app *app = context;
	struct rounds_error error = { 0 };
	struct page page = { .scope = request_caller(request)->scope, .before = INT64_MAX, .limit = 50 };
	json_t *next = NULL;

	if (wants_stream(request))
		return reply_live(request, app, NULL);
	if (request_query_integer(request, "cursor", 0, INT64_MAX, &page.before, &error) ||
		request_query_integer(request, "limit", 1, 1000, &page.limit, &error) ||
		store_read(app->store, read_newest, &page, &error))
		return reply_error(request, &error);
	if ((int64_t)json_array_size(page.rows) == page.limit)
		next = json_object_get(json_array_get(page.rows, json_array_size(page.rows) - 1), "id");
	return reply_json(request, 200, json_pack("{s:o, s:O?}", "items", page.rows, "next", next));
}
