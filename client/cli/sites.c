#include "client/cli/cli.h"

#include "common/json.h"

#include <stdio.h>
#include <string.h>

const struct field invite_flags[] = {
	{ "replace", FIELD_BOOL,
		"Let another machine take the place of the site of this name that is there; its certificate is then "
		"refused",
		.fallback = "false" },
	{ NULL },
};

const struct field drain_flags[] = {
	{ "now", FIELD_BOOL,
		"Call off what it works on, too: rounds go on without it, and it gets no work until it is activated",
		.fallback = "false" },
	{ NULL },
};

int site_list(struct cli *cli, struct rounds_error *error)
{
	static const struct column columns[] = { { "SITE", "name" }, { "CONNECTED", "connected" },
		{ "STATE", "state" }, { "SLOTS", "slots" }, { "DATASETS", "datasets" }, { "VERSION", "version" },
		{ "CERTIFICATE UNTIL", "certificate_expires" }, { NULL, NULL } };
	json_auto_t *answer = NULL;

	if (cli_get(cli, "/api/v1/sites", &answer, error))
		return -1;
	return show_table(cli, json_object_get(answer, "items"), columns);
}

static void site_path(const struct cli *cli, char *path, size_t size)
{
	snprintf(path, size, "/api/v1/sites/%.63s", cli_word(cli, 0));
}

int site_show(struct cli *cli, struct rounds_error *error)
{
	static const struct column fields[] = { { "site", "name" }, { "state", "state" }, { "called off", "now" },
		{ "connected", "connected" }, { "seen", "seen" }, { "a second one", "doubled" },
		{ "version", "version" }, { "slots", "slots" }, { "datasets", "datasets" },
		{ "executors", "executors" }, { "joined", "created" }, { "certificate", "serial" },
		{ "valid until", "certificate_expires" }, { "fingerprint", "fingerprint" }, { "in words", "words" },
		{ NULL, NULL } };
	json_auto_t *site = NULL;
	char path[120];

	site_path(cli, path, sizeof(path));
	if (cli_get(cli, path, &site, error))
		return -1;
	if (!cli->json) /* the fields of one table */
		json_object_update_missing(site, json_object_get(site, "keys"));
	return show_object(cli, site, fields);
}

int site_invite(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL, *body = json_pack("{s:s, s:O}", "site", cli_word(cli, 0), "replace",
					    json_object_get(cli->options, "replace"));

	if (cli_post(cli, "/api/v1/invitations", body, &answer, error))
		return -1;
	if (cli->json) {
		print_json(answer);
		return EXIT_DONE;
	}
	/* The invitation alone on standard output, so that it can be piped; what to do with it beside it. */
	fprintf(stderr,
		"At the site, run `rounds-site join URL` and give it this invitation, which is good once, until "
		"%s:\n",
		json_text_or(answer, "expires", ""));
	printf("%s\n", json_text_or(answer, "invitation", ""));
	return EXIT_DONE;
}

int site_invitations(struct cli *cli, struct rounds_error *error)
{
	static const struct column columns[] = { { "SITE", "site" }, { "STATE", "state" }, { "REPLACES", "replaces" },
		{ "BY", "by" }, { "MADE", "created" }, { "UNTIL", "expires" }, { "USED", "used" }, { "ID", "id" },
		{ NULL, NULL } };
	json_auto_t *answer = NULL;

	if (cli_get(cli, "/api/v1/invitations", &answer, error))
		return -1;
	return show_table(cli, json_object_get(answer, "items"), columns);
}

/* A site has at most one that is open. */
int site_uninvite(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL;
	const char *site = cli_word(cli, 0);
	char path[120];
	size_t i;
	json_t *row;

	if (cli_get(cli, "/api/v1/invitations", &answer, error))
		return -1;
	json_array_foreach (json_object_get(answer, "items"), i, row) {
		if (strcmp(json_text_or(row, "state", ""), "open") != 0 ||
			strcmp(json_text_or(row, "site", ""), site) != 0)
			continue;
		snprintf(path, sizeof(path), "/api/v1/invitations/%.60s", json_text_or(row, "id", ""));
		return connection_call(cli->connection, "DELETE", path, NULL, 30, NULL, error) ? -1 : EXIT_DONE;
	}
	return error_set(error, ERROR_NOT_FOUND, "%.63s has no open invitation; see rounds site invitations", site);
}

int site_remove(struct cli *cli, struct rounds_error *error)
{
	char path[120];

	site_path(cli, path, sizeof(path));
	if (cli_confirm(cli, error, "Remove the site %s? What it works on fails.", cli_word(cli, 0)))
		return -1;
	return connection_call(cli->connection, "DELETE", path, NULL, 30, NULL, error) ? -1 : EXIT_DONE;
}

static int set_state(
	struct cli *cli, const char *state, const json_t *now, json_t **answer, struct rounds_error *error)
{
	json_auto_t *body = json_pack("{s:s, s:O*}", "state", state, "now", now);
	char path[120];

	site_path(cli, path, sizeof(path));
	return connection_call(cli->connection, "PATCH", path, body, 30, answer, error);
}

/* What became of the rounds that waited for the site. */
static void print_called_off(const char *site, const json_t *answer)
{
	size_t i;
	json_t *entry;

	json_array_foreach (json_object_get(answer, "skipped"), i, entry)
		printf("%s (%s): round %lld goes on without %s\n", json_text_or(entry, "name", ""),
			json_text_or(entry, "job", ""), (long long)json_integer_or(entry, "round", 0), site);
	json_array_foreach (json_object_get(answer, "waiting"), i, entry)
		printf("%s (%s): cannot go on without %s and waits for it, unless you abort it: %s\n",
			json_text_or(entry, "name", ""), json_text_or(entry, "job", ""), site,
			json_text_or(entry, "reason", ""));
}

int site_drain(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL;

	if (set_state(cli, "draining", json_object_get(cli->options, "now"), &answer, error))
		return -1;
	if (cli->json)
		print_json(answer);
	else
		print_called_off(cli_word(cli, 0), answer);
	return EXIT_DONE;
}

int site_activate(struct cli *cli, struct rounds_error *error)
{
	return set_state(cli, "active", NULL, NULL, error) ? -1 : EXIT_DONE;
}

int upload_list(struct cli *cli, struct rounds_error *error)
{
	static const struct column columns[] = { { "OWNER", "owner" }, { "UNFINISHED", "uploads" },
		{ "BYTES ANNOUNCED", "announced_bytes" }, { "NOT USED", "unused_blobs" }, { "BYTES", "unused_bytes" },
		{ NULL, NULL } };
	json_auto_t *answer = NULL;

	if (cli_get(cli, "/api/v1/uploads", &answer, error))
		return -1;
	return show_table(cli, json_object_get(answer, "items"), columns);
}
