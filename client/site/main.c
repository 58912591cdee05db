/* rounds-site: the daemon at a hospital. It opens outbound HTTPS connections only. */
#include "client/site/join.h"
#include "client/site/peers.h"
#include "client/site/settings.h"
#include "client/site/site.h"
#include "client/site/tables.h"
#include "common/config.h"
#include "common/json.h"
#include "common/log.h"
#include "common/process.h"
#include "common/program.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static atomic_bool stop_asked; /* lock-free, so a signal handler may set it */

static void ask_stop(int signal_number)
{
	(void)signal_number;
	stop_asked = 1;
}

static int say(const struct rounds_error *error)
{
	fprintf(stderr, "rounds-site: %s%s%s\n", error->field, error->field[0] ? " " : "", error->message);
	return error->kind == ERROR_INVALID ? 2 : 1;
}

static const struct field confirm_flags[] = {
	{ "all", FIELD_BOOL, "All that were shown and are new; keys that have changed are confirmed by name alone",
		.fallback = "false" },
	{ NULL },
};

static const struct program_command commands[] = {
	{ "", "", "take part" },
	{ "join", "URL", "join a server; the invitation is read from standard input" },
	{ "datasets", "", "show what is in the tables, and what the server is told of them" },
	{ "keys", "", "show the fingerprint of this site's keys for other sites" },
	{ "keys change", "", "make new ones, signed with the old one; the daemon must be stopped" },
	{ "peers", "", "show the keys of the other sites, and which are confirmed here" },
	{ "peers confirm", "NAME", "trust the key that was shown, once its fingerprint has been compared",
		confirm_flags },
	{ "peers revoke", "NAME", "trust a site's key no longer" },
	{ NULL },
};

static const struct program program = {
	.name = "rounds-site",
	.section = 8,
	.summary = "takes part in federated learning with this site's own data",
	.description =
		"takes part in federated learning with this site's own data, which never leaves it. It opens outbound "
		"HTTPS connections alone.",
	.commands = commands,
	.flags = site_settings,
	.has_file = true,
	.remarks =
		"SIGTERM gives tasks back and stops; SIGHUP reads the settings again, and of them takes over the level of the "
		"log.",
};

/* From standard input, so that it is in no list of processes and in no shell's history. */
static int read_invitation(char *invitation, size_t size, struct rounds_error *error)
{
	if (isatty(STDIN_FILENO))
		fputs("Invitation: ", stderr);
	if (!fgets(invitation, (int)size, stdin))
		return error_set(error, ERROR_INVALID, "give the invitation on standard input");
	invitation[strcspn(invitation, "\r\n \t")] = '\0';
	return 0;
}

static int do_join(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	char invitation[400];
	const char *url = json_string_value(json_array_get(words, 1));

	if (!url || json_array_size(words) != 2)
		return error_set(error, ERROR_INVALID, "usage: rounds-site join URL < INVITATION");
	return read_invitation(invitation, sizeof(invitation), error) || join(settings, url, invitation, error) ? -1
														: 0;
}

static int show_datasets(const json_t *settings, struct rounds_error *error)
{
	if (json_object_size(json_object_get(settings, "datasets")) == 0)
		puts("There are no datasets: name them in site.json.");
	return tables_print(settings) ? 0 : error_set(error, ERROR_INVALID, "not every table can be read: see above");
}

static int show_own_keys(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	(void)words;
	return own_keys_show(settings, error);
}

static int change_own_keys(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	(void)words;
	return own_keys_change(settings, error);
}

static int show_peers(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	(void)words;
	return peers_show(settings, error);
}

static int confirm_peers(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	const char *name = json_string_value(json_array_get(words, 2));

	if (!name == !json_bool_or(settings, "all", false))
		return error_set(error, ERROR_INVALID, "usage: rounds-site peers confirm NAME, or --all");
	return peers_confirm(settings, name, error);
}

static int revoke_peer(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	const char *name = json_string_value(json_array_get(words, 2));

	if (!name)
		return error_set(error, ERROR_INVALID, "usage: rounds-site peers revoke NAME");
	return peers_revoke(settings, name, error);
}

static int show_all_datasets(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	(void)words;
	return show_datasets(settings, error);
}

static int take_part(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	(void)words;
	return site_run(settings, &stop_asked, error);
}

/* Of each command above, by its words, and how many words it may have in all. */
static const struct {
	const char *words;
	size_t most;
	int (*run)(const json_t *settings, const json_t *words, struct rounds_error *error);
} actions[] = {
	{ "", 0, take_part },
	{ "join", 2, do_join },
	{ "datasets", 1, show_all_datasets },
	{ "keys", 1, show_own_keys },
	{ "keys change", 2, change_own_keys },
	{ "peers", 1, show_peers },
	{ "peers confirm", 3, confirm_peers },
	{ "peers revoke", 3, revoke_peer },
};

/* Whether the command line begins with these words. */
static bool begins_with(const json_t *words, const char *command)
{
	for (size_t i = 0; *command; i++) {
		const char *word = json_string_value(json_array_get(words, i));
		size_t length = strcspn(command, " ");

		if (!word || strlen(word) != length || strncmp(word, command, length) != 0)
			return false;
		command += length + (command[length] == ' ');
	}
	return true;
}

static int run(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	size_t found = 0;

	for (size_t i = 1; i < ARRAY_SIZE(actions); i++)
		if (begins_with(words, actions[i].words))
			found = i; /* the longest stands last */
	if (json_array_size(words) > actions[found].most)
		return error_set(error, ERROR_INVALID, "there is no command \"%s%s%s\"; see rounds-site --help",
			actions[found].words, *actions[found].words ? " " : "",
			json_string_value(json_array_get(words, actions[found].most)));
	return actions[found].run(settings, words, error);
}

/* The settings, and "all" for the one command that knows it. */
static void join_flags(int argc, char **argv, struct field *all, size_t room)
{
	size_t count = 0;

	for (int i = 2; i < argc && count == 0; i++)
		if (!strcmp(argv[i - 1], "peers") && !strcmp(argv[i], "confirm"))
			all[count++] = confirm_flags[0];
	for (const struct field *at = site_settings; at->name && count + 1 < room; at++)
		all[count++] = *at;
	all[count] = (struct field){ 0 };
}

/* For SIGHUP: where the settings came from. */
static struct {
	int argc;
	char **argv;
} arguments;

static void set_log_level(const json_t *settings)
{
	enum log_level level = LOG_INFO;

	(void)log_level_parse(json_text_or(settings, "log_level", "info"), &level);
	log_set_level(level);
}

/* The level of the log; certificates are read with every connection. Everything else needs a restart. */
static void reload(void)
{
	json_auto_t *settings = NULL, *words = json_array();
	struct rounds_error error = { 0 };

	if (config_read(site_settings, arguments.argc, arguments.argv, 1, words, &settings, &error)) {
		log_warn("nothing is reloaded", "field", error.field[0] ? error.field : NULL, "reason", error.message,
			NULL);
		return;
	}
	set_log_level(settings);
	log_info("reloaded: the level of the log", NULL);
}

static sem_t hangups; /* the handler may do no more than post it */

static void note_hangup(int signal_number)
{
	(void)signal_number;
	sem_post(&hangups);
}

static void *answer_hangups(void *unused)
{
	(void)unused;
	for (;;)
		if (sem_wait(&hangups) == 0)
			reload();
	return NULL;
}

/* SIGHUP, which else ends a process, is answered by a thread of its own to the end of the process. */
static int catch_hangups(struct rounds_error *error)
{
	struct sigaction action = { .sa_handler = note_hangup, .sa_flags = SA_RESTART };
	pthread_t thread;

	sem_init(&hangups, 0, 0);
	sigaction(SIGHUP, &action, NULL);
	if (pthread_create(&thread, NULL, answer_hangups, NULL))
		return error_set(error, ERROR_UNAVAILABLE, "cannot start the thread that answers SIGHUP");
	pthread_detach(thread);
	return 0;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = ask_stop };

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on file size is an error of write, as a full disk is */
}

int main(int argc, char **argv)
{
	json_auto_t *settings = NULL, *words = json_array();
	struct field fields[48];
	struct rounds_error error = { 0 };

	process_keep_private();
	if (program_describes(&program, argc, argv))
		return 0;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return program_help(&program), 0;
	if (argc > 1 && !strcmp(argv[1], "--version"))
		return puts("rounds-site " ROUNDS_VERSION) < 0;
	join_flags(argc, argv, fields, ARRAY_SIZE(fields));
	if (config_read(fields, argc, argv, 1, words, &settings, &error) || settings_complete(settings, &error))
		return say(&error);
	if (json_bool_or(settings, "check_config", false) && show_datasets(settings, &error))
		return say(&error);
	if (json_bool_or(settings, "check_config", false))
		return puts("The settings are right.") < 0;
	log_setup(LOG_INFO, json_bool_or(settings, "log_json", false));
	set_log_level(settings);
	http_global_init();
	catch_signals();
	arguments.argc = argc;
	arguments.argv = argv;
	if (catch_hangups(&error))
		return say(&error);
	return run(settings, words, &error) ? say(&error) : 0;
}
