#include "server/routes/web.h"

#include "common/file.h"
#include "common/log.h"
#include "common/text.h"
#include "server/routes/app.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FILES = 64, FILE_LIMIT = 8 << 20 };

struct web_file {
	char *name, *bytes, *zipped;
	size_t size, zipped_size;
};

struct web {
	struct web_file files[FILES];
	size_t count;
};

static const struct {
	const char *ending, *type;
} types[] = {
	{ ".html", "text/html; charset=utf-8" },
	{ ".js", "text/javascript; charset=utf-8" },
	{ ".css", "text/css; charset=utf-8" },
	{ ".json", "application/json" },
	{ ".svg", "image/svg+xml" },
	{ ".txt", "text/plain; charset=utf-8" },
};

/* Nothing but our own files, no inline script or style; styles are set by script through the DOM. */
static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
			     "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
			     "frame-ancestors 'none'";

static const char absent[] = "<!doctype html><title>Rounds</title><p>This server has no dashboard: build it with "
			     "<code>npm ci &amp;&amp; npm run build</code> in <code>web/</code> and name the folder "
			     "<code>web/dist</code> in the setting <code>web_dir</code>. The API is at "
			     "<a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a>.";

static const char *type_of(const char *name)
{
	const char *ending = strrchr(name, '.');

	for (size_t i = 0; ending && i < ARRAY_SIZE(types); i++)
		if (!strcmp(ending, types[i].ending))
			return types[i].type;
	return NULL;
}

static int add_file(struct web *web, const char *directory, const char *name, struct rounds_error *error)
{
	struct web_file *file = &web->files[web->count];
	scoped(text_free) char *path = text_new("%s/%s", directory, name);
	scoped(text_free) char *zipped = text_new("%s/%s.gz", directory, name);

	if (!path || !zipped)
		return error_no_memory(error);
	if (web->count == FILES)
		return error_set(error, ERROR_INVALID, "%s holds more than %d files", directory, FILES);
	file->name = strdup(name);
	web->count++;
	if (!file->name)
		return error_no_memory(error);
	if (file_read(path, FILE_LIMIT, &file->bytes, &file->size, error))
		return -1;
	if (file_read(zipped, FILE_LIMIT, &file->zipped, &file->zipped_size, error))
		file->zipped_size = 0; /* it is only smaller */
	return 0;
}

int web_open(const char *directory, struct web **out, struct rounds_error *error)
{
	struct web *web = calloc(1, sizeof(*web));
	DIR *folder = web ? opendir(directory) : NULL;
	const struct dirent *entry;
	int failed = 0;

	if (!web)
		return error_no_memory(error);
	*out = web;
	if (!folder) {
		log_info("no dashboard", "web_dir", directory, "reason", strerror(errno), NULL);
		return 0;
	}
	while (!failed && (entry = readdir(folder)))
		if (type_of(entry->d_name))
			failed = add_file(web, directory, entry->d_name, error);
	closedir(folder);
	return failed;
}

void web_close(struct web *web)
{
	for (size_t i = 0; web && i < web->count; i++) {
		free(web->files[i].name);
		free(web->files[i].bytes);
		free(web->files[i].zipped);
	}
	free(web);
}

static const struct web_file *find(const struct web *web, const char *name)
{
	for (size_t i = 0; i < web->count; i++)
		if (!strcmp(web->files[i].name, name))
			return &web->files[i];
	return NULL;
}

static void add_headers(struct request *request, const char *type, const char *keep)
{
	reply_header(request, "Content-Type", "%s", type);
	reply_header(request, "Content-Security-Policy", "%s", policy);
	reply_header(request, "Referrer-Policy", "no-referrer");
	reply_header(request, "Cross-Origin-Opener-Policy", "same-origin");
	reply_header(request, "Cache-Control", "%s", keep);
}

static enum outcome reply_file_of(struct request *request, const struct web_file *file, const char *keep)
{
	const char *accept = request_header(request, "Accept-Encoding");

	add_headers(request, type_of(file->name), keep);
	reply_header(request, "Vary", "Accept-Encoding");
	if (!file->zipped_size || !accept || !strstr(accept, "gzip"))
		return reply_bytes(request, 200, file->bytes, file->size);
	reply_header(request, "Content-Encoding", "gzip");
	return reply_bytes(request, 200, file->zipped, file->zipped_size);
}

enum outcome web_index(struct request *request, void *context)
{
	const struct app *app = context;
	const struct web_file *file = find(app->web, "index.html");

	if (file)
		return reply_file_of(request, file, "no-cache");
	add_headers(request, "text/html; charset=utf-8", "no-cache");
	return reply_bytes(request, 404, absent, sizeof(absent) - 1);
}

/* Their names change with what is in them. */
enum outcome web_asset(struct request *request, void *context)
{
	const struct app *app = context;
	const struct web_file *file = find(app->web, request_parameter(request, "file"));
	struct rounds_error error = { 0 };

	if (file)
		return reply_file_of(request, file, "public, max-age=31536000, immutable");
	error_set(&error, ERROR_NOT_FOUND, "the dashboard has no such file");
	return reply_error(request, &error);
}
