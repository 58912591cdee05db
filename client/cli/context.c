#include "client/cli/cli.h"

#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* $ROUNDS_HOME, $XDG_CONFIG_HOME/rounds or ~/.config/rounds: the caller frees. */
static char *directory(void)
{
	const char *own = getenv("ROUNDS_HOME"), *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (own)
		return strdup(own);
	return config ? text_new("%s/rounds", config) : text_new("%s/.config/rounds", home ? home : ".");
}

static char *file_in(const char *folder, const char *name, const char *ending)
{
	return text_new("%s/%s%s", folder, name, ending);
}

int context_save(const char *name, const char *url, const char *token, const char *ca_pem, struct rounds_error *error)
{
	scoped(text_free) char *folder = directory();
	scoped(text_free) char *path = folder ? file_in(folder, "contexts", ".json") : NULL;
	scoped(text_free) char *ca_path = folder ? file_in(folder, name, ".pem") : NULL;
	scoped(text_free) char *text = NULL;
	json_auto_t *contexts = NULL;

	if (!path || !ca_path)
		return error_no_memory(error);
	if (directory_make(folder, 0700, error))
		return -1;
	if (access(path, F_OK) == 0 && json_parse_file(path, &contexts, error))
		return -1;
	if (!contexts)
		contexts = json_object();
	json_object_set_new(contexts, name,
		json_pack("{s:s, s:s, s:s?}", "url", url, "token", token, "ca_file", ca_pem ? ca_path : NULL));
	text = json_dumps(contexts, JSON_INDENT(2));
	if (!text)
		return error_no_memory(error);
	if (ca_pem && file_replace(ca_path, ca_pem, strlen(ca_pem), 0644, error))
		return -1;
	return file_replace(path, text, strlen(text), 0600, error);
}

int context_connect(const char *name, struct connection **connection, struct rounds_error *error)
{
	scoped(text_free) char *folder = directory();
	scoped(text_free) char *path = folder ? file_in(folder, "contexts", ".json") : NULL;
	json_auto_t *contexts = NULL;
	const json_t *context;
	struct connection_options options = { 0 };

	if (!path)
		return error_no_memory(error);
	if (access(path, F_OK))
		return error_set(error, ERROR_UNAUTHENTICATED, "you are not logged in; see rounds login --help");
	if (json_parse_file(path, &contexts, error))
		return -1;
	context = json_object_get(contexts, name);
	if (!context)
		return error_set(error, ERROR_UNAUTHENTICATED,
			"there is no login named \"%s\"; see rounds login --help", name);
	options.url = json_text_or(context, "url", "");
	options.token = json_text_or(context, "token", NULL);
	options.ca_file = json_text_or(context, "ca_file", NULL);
	return connection_new(&options, connection, error);
}
