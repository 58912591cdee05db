/* Accounts of people, who then sign in at the dashboard. */
#include "client/cli/cli.h"

#include "common/json.h"

#include <stdio.h>

const struct field user_flags[] = {
	{ "role", FIELD_TEXT, "What they may do", .fallback = "\"viewer\"", .choices = { "admin", "viewer" } },
	{ NULL },
};

static void user_path(const struct cli *cli, const char *rest, char *path, size_t size)
{
	snprintf(path, size, "/api/v1/users/%.63s%s", cli_word(cli, 0), rest);
}

/* The link alone on standard output, so that it can be piped; what to do with it beside it. */
static int show_setup(const struct cli *cli, const json_t *answer)
{
	if (cli->json) {
		print_json(answer);
		return EXIT_DONE;
	}
	fprintf(stderr, "Give this link to %s over a channel you trust; it opens the account once, until %s:\n",
		json_text_or(answer, "name", ""), json_text_or(answer, "expires", ""));
	printf("%s\n", json_text_or(answer, "setup_link", ""));
	return EXIT_DONE;
}

int user_add(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL, *body = json_pack("{s:s, s:O}", "name", cli_word(cli, 0), "role",
					    json_object_get(cli->options, "role"));

	return cli_post(cli, "/api/v1/users", body, &answer, error) ? -1 : show_setup(cli, answer);
}

int user_reset(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL;
	char path[120];

	user_path(cli, "/reset", path, sizeof(path));
	return cli_post(cli, path, NULL, &answer, error) ? -1 : show_setup(cli, answer);
}

int user_list(struct cli *cli, struct rounds_error *error)
{
	static const struct column columns[] = { { "NAME", "name" }, { "ROLE", "role" }, { "ACCOUNT", "state" },
		{ "CREATED", "created" }, { "SIGNED IN", "signed_in" }, { NULL, NULL } };
	json_auto_t *answer = NULL;

	if (cli_get(cli, "/api/v1/users", &answer, error))
		return -1;
	return show_table(cli, json_object_get(answer, "items"), columns);
}

int user_role(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *body = json_pack("{s:s}", "role", cli_word(cli, 1));
	char path[120];

	user_path(cli, "", path, sizeof(path));
	return connection_call(cli->connection, "PATCH", path, body, 30, NULL, error) ? -1 : EXIT_DONE;
}

int user_remove(struct cli *cli, struct rounds_error *error)
{
	char path[120];

	user_path(cli, "", path, sizeof(path));
	return connection_call(cli->connection, "DELETE", path, NULL, 30, NULL, error) ? -1 : EXIT_DONE;
}
