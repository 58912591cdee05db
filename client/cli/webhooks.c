/* Webhooks: other systems that the server tells of events. */
#include "client/cli/cli.h"

#include "common/json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PING_SECONDS = 40 };

const struct field webhook_flags[] = {
	{ "events", FIELD_NAMES,
		"Kinds of events, such as completed,failed (none: what changes a job's state, and failures)",
		.min = 1, .max = 40 },
	{ NULL },
};

int webhook_add(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *answer = NULL, *body = json_pack("{s:s, s:O*}", "url", cli_word(cli, 0), "events",
					    json_object_get(cli->options, "events"));

	if (cli_post(cli, "/api/v1/webhooks", body, &answer, error))
		return -1;
	if (cli->json) {
		print_json(answer);
		return EXIT_DONE;
	}
	/* The secret alone on standard output, so that it can be piped. */
	fprintf(stderr,
		"Webhook %s is active. Its receiver checks signatures with this secret, which is shown once;\n"
		"`rounds webhook ping %s` sends a test:\n",
		json_text_or(answer, "id", ""), json_text_or(answer, "id", ""));
	printf("%s\n", json_text_or(answer, "secret", ""));
	return EXIT_DONE;
}

int webhook_list(struct cli *cli, struct rounds_error *error)
{
	static const struct column columns[] = { { "ID", "id" }, { "URL", "url" }, { "STATE", "state" },
		{ "DELIVERIES", "deliveries" }, { "LAST", "delivered" }, { "FAILING SINCE", "failing_since" },
		{ "FAULT", "tried_fault" }, { NULL, NULL } };
	json_auto_t *answer = NULL;

	if (cli_get(cli, "/api/v1/webhooks", &answer, error))
		return -1;
	return show_table(cli, json_object_get(answer, "items"), columns);
}

/* The path of the webhook whose id begins or ends as the first word says; "" after it, or "/ping". */
static int find(struct cli *cli, const char *rest, char path[120], struct rounds_error *error)
{
	const char *given = cli_word(cli, 0), *id = NULL;
	json_auto_t *answer = NULL;
	size_t i, found = 0;
	json_t *webhook;

	if (cli_get(cli, "/api/v1/webhooks", &answer, error))
		return -1;
	json_array_foreach (json_object_get(answer, "items"), i, webhook) {
		const char *known = json_text_or(webhook, "id", "");

		if (!cli_id_means(given, known))
			continue;
		id = known;
		found++;
	}
	if (found != 1)
		return error_set(error, found ? ERROR_INVALID : ERROR_NOT_FOUND,
			found ? "\"%.60s\" means %zu webhooks; give more of the id" : "there is no webhook \"%.60s\"",
			given, found);
	snprintf(path, 120, "/api/v1/webhooks/%.60s%s", id, rest);
	return 0;
}

static int set_state(struct cli *cli, const char *state, struct rounds_error *error)
{
	json_auto_t *body = json_pack("{s:s}", "state", state);
	char path[120];

	return find(cli, "", path, error) || connection_call(cli->connection, "PATCH", path, body, 30, NULL, error)
		       ? -1
		       : EXIT_DONE;
}

int webhook_pause(struct cli *cli, struct rounds_error *error)
{
	return set_state(cli, "paused", error);
}

int webhook_resume(struct cli *cli, struct rounds_error *error)
{
	return set_state(cli, "active", error);
}

int webhook_remove(struct cli *cli, struct rounds_error *error)
{
	char path[120];

	return find(cli, "", path, error) || connection_call(cli->connection, "DELETE", path, NULL, 30, NULL, error)
		       ? -1
		       : EXIT_DONE;
}

static int say_tried(const json_t *webhook)
{
	const char *fault = json_text_or(webhook, "tried_fault", NULL);
	scoped(text_free) char *safe = value_text(json_object_get(webhook, "tried_fault"));

	if (!fault)
		return puts("The receiver took it.") < 0 ? EXIT_FAILED : EXIT_DONE;
	fprintf(stderr, "rounds: the receiver did not take it: %s\n", safe ? safe : "");
	return EXIT_FAILED;
}

/* Sends a test and waits for what comes of it. */
int webhook_ping(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *asked = NULL;
	char path[120];

	if (find(cli, "/ping", path, error) || cli_post(cli, path, NULL, &asked, error))
		return -1;
	path[strlen(path) - strlen("/ping")] = '\0';
	for (int tries = 0; tries < PING_SECONDS * 5; tries++) {
		json_auto_t *now = NULL;

		nanosleep(&(struct timespec){ .tv_nsec = 200 * 1000 * 1000 }, NULL);
		if (cli_get(cli, path, &now, error))
			return -1;
		if (!json_equal(json_object_get(now, "tried"), json_object_get(asked, "tried")))
			return say_tried(now);
	}
	return error_set(error, ERROR_UNAVAILABLE, "the server has not tried within %d seconds", PING_SECONDS);
}
