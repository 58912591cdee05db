/* rounds: the operators' command, over the REST API. */
#include "client/cli/cli.h"

#include "common/config.h"
#include "common/json.h"
#include "common/uuid.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A table is read by its columns. */
/* clang-format off */
const struct command commands[] = {
	{ "login", "URL < TOKEN", "Keep a server's address and a token; the token is read from standard input", login_flags,
		login, 1, 1, true },
	{ "whoami", "", "Say which server and whose token is used", NULL, whoami, 0, 0 },
	{ "job check", "FILE.json", "What submitting a job would do, without submitting it", NULL, job_check, 1, 1 },
	{ "job submit", "FILE.json", "Submit a job", submit_flags, job_submit, 1, 1 },
	{ "job list", "", "Jobs, newest first", list_flags, job_list, 0, 0 },
	{ "job show", "JOB", "One job", NULL, job_show, 1, 1 },
	{ "job watch", "JOB", "Follow a job to its end", NULL, job_watch, 1, 1 },
	{ "job events", "JOB", "What has happened to a job", NULL, job_events, 1, 1 },
	{ "job pause", "JOB", "Let a running job rest", NULL, job_pause, 1, 1 },
	{ "job resume", "JOB", "Let a paused job go on", NULL, job_resume, 1, 1 },
	{ "job abort", "JOB", "End a job", NULL, job_abort, 1, 1 },
	{ "job clone", "JOB", "Submit a job again", clone_flags, job_clone, 1, 1 },
	{ "job delete", "JOB", "Delete a job that has ended, with its models", yes_flags, job_delete, 1, 1 },
	{ "job trace", "JOB", "What each round's time went into, as Chrome trace JSON (ui.perfetto.dev opens it)", trace_flags, job_trace, 1, 1 },
	{ "job export", "JOB", "Give a job's history to TensorBoard, MLflow or a spreadsheet", export_flags, job_export, 1, 1 },
	{ "job skip", "JOB SITE", "Let the present round go on without a site", NULL, job_skip, 2, 2 },
	{ "job download", "JOB", "Save a job's model as a safetensors file", download_flags, job_download, 1, 1 },
	{ "site list", "", "All sites", NULL, site_list, 0, 0 },
	{ "site show", "SITE", "One site", NULL, site_show, 1, 1 },
	{ "site invite", "SITE", "Make an invitation for a site, good once and for a day; older ones for it are void", invite_flags, site_invite, 1, 1 },
	{ "site invitations", "", "All invitations, and what became of them", NULL, site_invitations, 0, 0 },
	{ "site uninvite", "SITE", "Take back a site's invitation that is still open", NULL, site_uninvite, 1, 1 },
	{ "site drain", "SITE", "Let a site take part in no new job", drain_flags, site_drain, 1, 1 },
	{ "site activate", "SITE", "Let a site that drains take part again", NULL, site_activate, 1, 1 },
	{ "site remove", "SITE", "Refuse a site's certificate from now on", yes_flags, site_remove, 1, 1 },
	{ "upload list", "", "Who has uploaded what that no job uses yet", NULL, upload_list, 0, 0 },
	{ "user add", "NAME", "Make an account; its set-up link is shown once", user_flags, user_add, 1, 1 },
	{ "user list", "", "All accounts", NULL, user_list, 0, 0 },
	{ "user role", "NAME ROLE", "Give an account the role admin or viewer", NULL, user_role, 2, 2 },
	{ "user reset", "NAME", "A new set-up link in place of the password; all sessions end", NULL, user_reset, 1, 1 },
	{ "user remove", "NAME", "Remove an account", NULL, user_remove, 1, 1 },
	{ "token create", "NAME", "Make a token; it is shown once", token_flags, token_create, 1, 1 },
	{ "token list", "", "All tokens", NULL, token_list, 0, 0 },
	{ "token remove", "ID", "Revoke a token", NULL, token_remove, 1, 1 },
	{ "webhook add", "URL", "Tell another system of events; the secret for its signatures is shown once", webhook_flags, webhook_add, 1, 1 },
	{ "webhook list", "", "All webhooks, and how their deliveries go", NULL, webhook_list, 0, 0 },
	{ "webhook ping", "ID", "Send a test, and say what came of it", NULL, webhook_ping, 1, 1 },
	{ "webhook pause", "ID", "Tell nothing for now; what happens meanwhile is told later", NULL, webhook_pause, 1, 1 },
	{ "webhook resume", "ID", "Let a webhook that was paused or has failed go on", NULL, webhook_resume, 1, 1 },
	{ "webhook remove", "ID", "Remove a webhook", NULL, webhook_remove, 1, 1 },
	{ "audit list", "", "Who did what, newest first", audit_list_flags, audit_list, 0, 0 },
	{ "audit export", "", "Print the audit log as lines that prove themselves", NULL, audit_export, 0, 0 },
	{ "audit key", "", "Print the public key that audit verify needs", NULL, audit_key, 0, 0 },
	{ "audit verify", "FILE", "Prove an export of the audit log, or name what is wrong with it", audit_verify_flags, audit_verify, 1, 1, true },
	{ "peers key", "FILE", "Make a consortium's key, which signs the list of its sites' keys; print its public part", NULL, peers_key, 1, 1, true },
	{ "peers sign", "PEERS.json", "Sign a list of sites' fingerprints, and print it", peers_sign_flags, peers_sign, 1, 1, true },
	{ "verify", "JOB", "Recompute a job's rounds and check the chain of their digests", NULL, verify, 1, 1 },
	{ "simulate", "JOB.json", "Run a job with its whole federation on this machine", simulate_flags, simulate, 1, 1, true },
	{ "completion", "SHELL", "Print completion for bash, zsh or fish: source <(rounds completion bash)", NULL, completion, 0, 1, true },
	{ "version", "", "Versions of this program and of the server", NULL, version, 0, 0, true },
	{ NULL },
};
/* clang-format on */

static const struct field global_flags[] = {
	{ "context", FIELD_NAME, "Which login to use", .fallback = "\"default\"" },
	{ "output", FIELD_TEXT, "table, or json for scripts (also -o)", .fallback = "\"table\"",
		.choices = { "table", "json" } },
	{ NULL },
};

const struct field yes_flags[] = {
	{ "yes", FIELD_BOOL, "Do not ask", .fallback = "false" },
	{ NULL },
};

const char *cli_word(const struct cli *cli, size_t at)
{
	return json_string_value(json_array_get(cli->words, at));
}

int cli_get(struct cli *cli, const char *path, json_t **answer, struct rounds_error *error)
{
	return connection_call(cli->connection, "GET", path, NULL, 30, answer, error);
}

int cli_post(struct cli *cli, const char *path, const json_t *body, json_t **answer, struct rounds_error *error)
{
	return connection_call(cli->connection, "POST", path, body, 60, answer, error);
}

/* Ids begin with the time, so the end tells them apart sooner. */
bool cli_id_means(const char *given, const char *known)
{
	size_t length = strlen(given), whole = strlen(known);

	return length <= whole &&
	       (!strncmp(known, given, length) || (length >= 4 && !strcmp(known + whole - length, given)));
}

int cli_job_id(struct cli *cli, const char *given, char *id, struct rounds_error *error)
{
	json_auto_t *answer = NULL;
	bool last = !strcmp(given, "last");
	size_t i, found = 0;
	json_t *job;

	snprintf(id, 40, "%.39s", given);
	if (uuid_is_valid(given))
		return 0;
	if (cli_get(cli, last ? "/api/v1/jobs?limit=1" : "/api/v1/jobs?limit=1000", &answer, error))
		return -1;
	json_array_foreach (json_object_get(answer, "items"), i, job) {
		const char *known = json_text_or(job, "id", "");

		if (!last && !cli_id_means(given, known))
			continue;
		snprintf(id, 40, "%s", known);
		found++;
	}
	if (found == 1)
		return 0;
	return error_set(error, found ? ERROR_INVALID : ERROR_NOT_FOUND,
		found ? "\"%.60s\" means %zu jobs; give more of the id" : "there is no job \"%.60s\"", given, found);
}

int cli_confirm(const struct cli *cli, struct rounds_error *error, const char *format, ...)
{
	char answer[8];
	va_list arguments;

	if (json_bool_or(cli->options, "yes", false))
		return 0;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputs(" [y/N] ", stderr);
	if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
		return 0;
	return error_set(error, ERROR_INVALID, "nothing was done; answer y, or give --yes");
}

void cli_explain(const struct connection *connection, struct rounds_error *error)
{
	char told[400];

	if (!connection_untrusted(connection))
		return;
	snprintf(told, sizeof(told), "%.390s", error->message);
	error_set(error, error->kind,
		"%s\nIf this is a server with its own authority, log in with --ca-fingerprint and the fingerprint that "
		"`rounds-server init` printed (or its administrator tells you); nothing was sent",
		told);
}

static int exit_of(const struct rounds_error *error)
{
	switch (error->kind) {
	case ERROR_INVALID:
	case ERROR_CONFLICT:
	case ERROR_PRECONDITION:
		return EXIT_USAGE;
	case ERROR_NOT_FOUND:
	case ERROR_GONE:
		return EXIT_NOT_FOUND;
	case ERROR_UNAUTHENTICATED:
	case ERROR_FORBIDDEN:
		return EXIT_DENIED;
	case ERROR_UNAVAILABLE:
		return EXIT_UNREACHABLE;
	default:
		return EXIT_FAILED;
	}
}

static int say(const struct rounds_error *error)
{
	fprintf(stderr, "rounds: %s%s%s\n", error->field, error->field[0] ? " " : "", error->message);
	return exit_of(error);
}

/* All that is wrong with a job, a line each. */
static int say_all(const struct rounds_error *error, const json_t *faults)
{
	size_t i;
	json_t *fault;

	if (json_array_size(faults) < 2)
		return say(error);
	json_array_foreach (faults, i, fault) {
		scoped(text_free) char *field = value_text(json_object_get(fault, "field"));
		scoped(text_free) char *message = value_text(json_object_get(fault, "message"));

		fprintf(stderr, "rounds: %s%s%s\n", field ? field : "", field && field[0] ? " " : "",
			message ? message : "");
	}
	return exit_of(error);
}

/* What an argument may be, as the server that is logged in to says: nothing, and no error, where it does not answer. */
static void print_names(const char *argument)
{
	static const struct {
		const char *argument, *path, *key;
	} lists[] = {
		{ "JOB", "/api/v1/jobs?limit=100", "id" },
		{ "SITE", "/api/v1/sites", "name" },
	};
	scoped(connection_free) struct connection *connection = NULL;
	struct rounds_error ignored;

	if (!strcmp(argument, "JOB"))
		puts("last\tThe newest job");
	http_global_init();
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_auto_t *answer = NULL;
		size_t at;
		json_t *item;

		if (strcmp(lists[i].argument, argument) != 0 || context_connect("default", &connection, &ignored) ||
			connection_call(connection, "GET", lists[i].path, NULL, 2, &answer, &ignored))
			continue;
		json_array_foreach (json_object_get(answer, "items"), at, item)
			printf("%s\t%s\n", json_text_or(item, lists[i].key, ""), json_text_or(item, "state", ""));
	}
}

const struct program *cli_program(void)
{
	enum { LIMIT = 100 };
	static struct program_command list[LIMIT + 1];
	static const struct program program = {
		.name = "rounds",
		.section = 1,
		.summary = "the operators' command of a federation",
		.description = "federated learning between sites that keep their data.",
		.commands = list,
		.flags = global_flags,
		.remarks =
			"A JOB is an id, its beginning or end, or `last`. `rounds COMMAND --help` lists a command's options.\n"
			"Exit codes: 0 done; 1 failed; 2 wrong usage or job; 3 not found; 4 not allowed; 5 no answer from "
			"the server;\n"
			"6 the watched job failed or the verified lineage is broken.",
		.names = print_names,
	};

	for (size_t i = 0; commands[i].words && i < LIMIT; i++)
		list[i] = (struct program_command){ commands[i].words, commands[i].usage, commands[i].help,
			commands[i].flags };
	return &program;
}

static int help(void)
{
	program_help(cli_program());
	return EXIT_DONE;
}

static int command_help(const struct command *command)
{
	printf("rounds %s %s\n\n%s.\n\n", command->words, command->usage, command->help);
	if (command->flags)
		config_help(command->flags);
	config_help(global_flags);
	return EXIT_DONE;
}

/* How many of the arguments are the command's own words; 0: it is not this one. */
static int matches(const struct command *command, int argc, char **argv)
{
	const char *at = command->words;
	int count = 0;

	while (*at) {
		size_t length = strcspn(at, " ");

		if (count + 1 >= argc || strlen(argv[count + 1]) != length ||
			strncmp(argv[count + 1], at, length) != 0)
			return 0;
		count++;
		at += length + (at[length] == ' ');
	}
	return count;
}

/* The command's flags and the global ones in one table. */
static void join_flags(const struct command *command, struct field *all, size_t room)
{
	size_t count = 0;

	for (const struct field *at = command->flags; at && at->name && count + 1 < room; at++)
		all[count++] = *at;
	for (const struct field *at = global_flags; at->name && count + 1 < room; at++)
		all[count++] = *at;
	all[count] = (struct field){ 0 };
}

static int run(const struct command *command, int own, int argc, char **argv)
{
	struct field flags[20];
	json_auto_t *options = NULL, *words = json_array();
	struct connection *connection = NULL;
	struct rounds_error error = { 0 };
	struct cli cli = { 0 };
	int code;

	join_flags(command, flags, ARRAY_SIZE(flags));
	if (config_read(flags, argc, argv, own + 1, words, &options, &error))
		return say(&error);
	if ((int)json_array_size(words) < command->least || (int)json_array_size(words) > command->most) {
		fprintf(stderr, "usage: rounds %s %s\n", command->words, command->usage);
		return EXIT_USAGE;
	}
	http_global_init();
	if (!command->offline && context_connect(json_text_or(options, "context", ""), &connection, &error))
		return say(&error);
	cli = (struct cli){ options, words, connection, !strcmp(json_text_or(options, "output", ""), "json"), NULL };
	code = command->run(&cli, &error);
	if (code < 0 && cli.connection)
		cli_explain(cli.connection, &error);
	if (code < 0)
		code = say_all(&error, cli.connection ? connection_faults(cli.connection) : NULL);
	connection_free(cli.connection);
	return code;
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static char output[] = "--output", version_word[] = "version";
	int own;

	signal(SIGPIPE, SIG_IGN);
	if (program_describes(cli_program(), argc, argv))
		return EXIT_DONE;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "-o"))
			argv[i] = output;
	if (argc > 1 && !strcmp(argv[1], "--version"))
		argv[1] = version_word;
	for (const struct command *command = commands; command->words; command++)
		if ((own = matches(command, argc, argv)))
			return wants_help(argc, argv) ? command_help(command) : run(command, own, argc, argv);
	if (argc < 2 || wants_help(argc, argv) || !strcmp(argv[1], "help"))
		return help();
	fprintf(stderr, "rounds: there is no command \"%s%s%s\"; see rounds --help\n", argv[1], argc > 2 ? " " : "",
		argc > 2 ? argv[2] : "");
	return EXIT_USAGE;
}
