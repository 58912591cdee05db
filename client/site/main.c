/* rounds-site: the daemon at a hospital. It opens outbound HTTPS connections only. */
#include "client/site/join.h"
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

static const struct program_command commands[] = {
	{ "", "", "take part" },
	{ "join", "URL", "join a server; the invitation is read from standard input" },
	{ "datasets", "", "show what is in the tables, and what the server is told of them" },
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

static int run(const json_t *settings, const json_t *words, struct rounds_error *error)
{
	const char *command = json_string_value(json_array_get(words, 0));

	if (!command)
		return site_run(settings, &stop_asked, error);
	if (!strcmp(command, "datasets"))
		return show_datasets(settings, error);
	if (!strcmp(command, "join"))
		return do_join(settings, words, error);
	return error_set(error, ERROR_INVALID, "there is no command \"%s\"; see rounds-site --help", command);
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
	struct rounds_error error = { 0 };

	process_keep_private();
	if (program_describes(&program, argc, argv))
		return 0;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return program_help(&program), 0;
	if (argc > 1 && !strcmp(argv[1], "--version"))
		return puts("rounds-site " ROUNDS_VERSION) < 0;
	if (config_read(site_settings, argc, argv, 1, words, &settings, &error) ||
		settings_complete(settings, &error))
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
