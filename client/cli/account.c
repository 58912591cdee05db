/* login, whoami, version, tokens, completion. */
#include "client/authority.h"
#include "client/cli/cli.h"
#include "common/json.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct field login_flags[] = {
	{ "ca_fingerprint", FIELD_DIGEST,
		"The fingerprint of the server's authority, as `rounds-server init` printed it; without it the "
		"system's authorities are trusted" },
	{ NULL },
};

const struct field token_flags[] = {
	{ "role", FIELD_TEXT, "What it may do", .fallback = "\"viewer\"", .choices = { "admin", "viewer" } },
	{ "expires_days", FIELD_INTEGER, "Days until it ends; 0: never", .fallback = "0", .min = 0, .max = 36500 },
	{ NULL },
};

/* From standard input, so that it is in no list of processes and in no shell's history. */
static int read_token(char *token, size_t size, struct rounds_error *error)
{
	if (isatty(STDIN_FILENO))
		fputs("Token: ", stderr);
	if (!fgets(token, (int)size, stdin))
		return error_set(error, ERROR_INVALID, "give the token on standard input");
	token[strcspn(token, "\r\n")] = '\0';
	return *token ? 0 : error_set(error, ERROR_INVALID, "the token is empty");
}

/* Who the token is, by a server that is not kept yet. */
static int introduce(
	const char *url, const char *token, const char *authority, json_t **me, struct rounds_error *error)
{
	const struct connection_options options = { .url = url, .token = token, .ca_pem = authority };
	scoped(connection_free) struct connection *connection = NULL;

	if (connection_new(&options, &connection, error))
		return -1;
	if (!connection_call(connection, "GET", "/api/v1/whoami", NULL, 30, me, error))
		return 0;
	cli_explain(connection, error);
	return -1;
}

/* What was kept under this name stays until the server has known the token. */
int login(struct cli *cli, struct rounds_error *error)
{
	const char *url = cli_word(cli, 0), *name = json_text_or(cli->options, "context", "default");
	const char *fingerprint = json_text_or(cli->options, "ca_fingerprint", NULL);
	scoped(text_free) char *authority = NULL;
	json_auto_t *me = NULL;
	char token[256];

	if ((fingerprint && authority_fetch(url, fingerprint, NULL, &authority, error)) ||
		read_token(token, sizeof(token), error) || introduce(url, token, authority, &me, error) ||
		context_save(name, url, token, authority, error))
		return -1;
	printf("Logged in to %s as %s (%s).\n", url, json_text_or(me, "name", ""), json_text_or(me, "role", ""));
	return EXIT_DONE;
}

int whoami(struct cli *cli, struct rounds_error *error)
{
	static const struct column fields[] = { { "name", "name" }, { "role", "role" }, { NULL, NULL } };
	json_auto_t *me = NULL;

	if (cli_get(cli, "/api/v1/whoami", &me, error))
		return -1;
	return show_object(cli, me, fields);
}

int version(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL;
	struct rounds_error ignored;

	(void)error;
	if (!context_connect(json_text_or(cli->options, "context", "default"), &cli->connection, &ignored) &&
		!cli_get(cli, "/api/v1/version", &answer, &ignored) && !cli->json)
		printf("rounds %s, server %s (protocol %lld)\n", ROUNDS_VERSION, json_text_or(answer, "version", "?"),
			(long long)json_integer_or(answer, "protocol", 0));
	else if (!cli->json)
		printf("rounds %s\n", ROUNDS_VERSION);
	if (cli->json) {
		json_auto_t *both = json_pack("{s:s, s:O?}", "rounds", ROUNDS_VERSION, "server", answer);

		print_json(both);
	}
	return EXIT_DONE;
}

int token_create(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL, *body = json_pack("{s:s, s:O, s:O}", "name", cli_word(cli, 0), "role",
					    json_object_get(cli->options, "role"), "expires_days",
					    json_object_get(cli->options, "expires_days"));

	if (cli_post(cli, "/api/v1/tokens", body, &answer, error))
		return -1;
	if (cli->json)
		print_json(answer);
	else
		printf("%s\n", json_text_or(answer, "token", ""));
	return EXIT_DONE;
}

int token_list(struct cli *cli, struct rounds_error *error)
{
	static const struct column columns[] = { { "ID", "id" }, { "NAME", "name" }, { "ROLE", "role" },
		{ "MADE BY", "made_by" }, { "CREATED", "created" }, { "EXPIRES", "expires" }, { NULL, NULL } };
	json_auto_t *answer = NULL;

	if (cli_get(cli, "/api/v1/tokens", &answer, error))
		return -1;
	return show_table(cli, json_object_get(answer, "items"), columns);
}

int token_remove(struct cli *cli, struct rounds_error *error)
{
	char path[120];

	snprintf(path, sizeof(path), "/api/v1/tokens/%.60s", cli_word(cli, 0));
	return connection_call(cli->connection, "DELETE", path, NULL, 30, NULL, error) ? -1 : EXIT_DONE;
}

int completion(struct cli *cli, struct rounds_error *error)
{
	const char *shell = cli_word(cli, 0) ? cli_word(cli, 0) : "bash";
	char path[4096] = "rounds"; /* this very program, wherever it is */
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (length > 0)
		path[length] = '\0';
	if (program_completion(cli_program(), shell, path))
		return EXIT_DONE;
	return error_set(error, ERROR_INVALID, "there is completion for bash, zsh and fish, not for %.40s", shell);
}
