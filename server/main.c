/* rounds-server: puts the rooms together, and takes them apart in the right order. */
#include "common/clock.h"
#include "common/config.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/process.h"
#include "common/text.h"
#include "server/backup.h"
#include "server/commands.h"
#include "server/routes/app.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_SECONDS = 5, PEM_LIMIT = 256 * 1024 };

static volatile sig_atomic_t stop_asked;

static volatile sig_atomic_t reload_asked;

static void ask_stop(int signal_number)
{
	(void)signal_number;
	stop_asked = 1;
}

static void ask_reload(int signal_number)
{
	(void)signal_number;
	reload_asked = 1;
}

/* For SIGHUP: where the settings came from. */
static struct {
	int argc;
	char **argv;
} arguments;

struct server {
	struct app app;
	struct authority authority;
	struct engine *engine;
	struct in6_addr *proxies;
	int lock;
	int64_t drain_us;
};

static void wake(void *context, const char *key)
{
	struct app *app = context;
	enum topic topic;
	const char *id = notice_read(key, &topic);

	if (app->webhooks && topic == TOPIC_JOB)
		webhooks_touch(app->webhooks);
	if (app->feed && (topic == TOPIC_JOB || topic == TOPIC_PROGRESS))
		feed_touch(app->feed, id);
	if (topic != TOPIC_PROGRESS)
		http_wake(app->http, key);
}

static void wake_streams(void *context)
{
	struct app *app = context;

	http_wake_streams(app->http);
}

static int open_feed(struct app *app, struct rounds_error *error)
{
	const struct feed_options options = {
		.store = app->store,
		.engine = app->engine,
		.wake = wake_streams,
		.context = app,
	};

	/* Streams of whoever has lost a right end at once, not with their next message. */
	auth_on_revocation(app->auth, wake_streams, app);
	return feed_new(&options, &app->feed, error);
}

static unsigned processors(const json_t *config)
{
	long count = json_integer_or(config, "aggregation_threads", 0);

	if (count == 0)
		count = sysconf(_SC_NPROCESSORS_ONLN);
	return count < 1 ? 1 : (unsigned)count;
}

/* The rest is for the engine: the database, models, aggregates, uploads and webhooks go on however many connect. */
static unsigned connections(const json_t *config)
{
	unsigned long files = process_raise_file_limit(), room = files - files / 4;
	unsigned long wanted = (unsigned long)json_integer_or(config, "connections", 20000);
	char number[24];

	if (wanted <= room)
		return (unsigned)wanted;
	snprintf(number, sizeof(number), "%lu", room);
	log_warn("the limit of open files leaves room for fewer connections; raise it (LimitNOFILE=)", "connections",
		number, NULL);
	return (unsigned)room;
}

static int read_proxies(const json_t *config, struct server *server, struct rounds_error *error)
{
	const json_t *list = json_object_get(config, "proxies");
	size_t i;
	json_t *item;

	server->proxies = calloc(json_array_size(list) + 1, sizeof(*server->proxies));
	if (!server->proxies)
		return error_no_memory(error);
	json_array_foreach (list, i, item) {
		char text[80];
		bool v6 = strchr(json_string_value(item), ':') != NULL;

		snprintf(text, sizeof(text), "%s%.70s", v6 ? "" : "::ffff:", json_string_value(item));
		if (inet_pton(AF_INET6, text, &server->proxies[i]) != 1)
			return error_field(
				error, "proxies", "%.60s is no IPv4 or IPv6 address", json_string_value(item));
	}
	return 0;
}

/* The operator's own, if there is one. */
static int show_own_certificate(const json_t *config, struct rounds_error *error)
{
	const char *certificate = json_text_or(config, "certificate", NULL), *key = json_text_or(config, "key", NULL);
	scoped(text_free) char *certificate_pem = NULL;
	scoped(text_free) char *key_pem = NULL;

	if (!certificate && !key)
		return 0;
	if (!certificate || !key)
		return error_field(error, certificate ? "key" : "certificate", "is needed, too");
	if (file_read(certificate, PEM_LIMIT, &certificate_pem, NULL, error) ||
		file_read(key, PEM_LIMIT, &key_pem, NULL, error) ||
		http_show_certificate(CERTIFICATE_BY_NAME, certificate_pem, key_pem, error))
		return error_prefix(error, "%s", certificate);
	return 0;
}

static int show_certificates(struct server *server, const json_t *config, struct rounds_error *error)
{
	return http_show_certificate(
		       CERTIFICATE_FOR_ALL, server->authority.server_pem, server->authority.server_key, error) ||
			       show_own_certificate(config, error)
		       ? -1
		       : 0;
}

static int make_http(struct server *server, const json_t *config, struct rounds_error *error)
{
	struct http_options options = {
		.address = json_text_or(config, "address", ""),
		.port = (uint16_t)json_integer_or(config, "port", 0),
		.authority_pem = server->authority.ca_pem,
		.io_threads = (unsigned)json_integer_or(config, "io_threads", 2),
		.workers = (unsigned)json_integer_or(config, "workers", 8),
		.connections = connections(config),
		.anonymous = (unsigned)json_integer_or(config, "anonymous_connections", 256),
		.proxies = server->proxies,
		.proxy_count = json_array_size(json_object_get(config, "proxies")),
		.routes = routes,
		.guard = guard,
		.door = door,
		.app = &server->app,
	};

	return http_new(&options, &server->app.http, error) || show_certificates(server, config, error) ? -1 : 0;
}

/* Where it was installed beside this program, under whatever prefix. */
static int open_web(const json_t *config, struct web **web, struct rounds_error *error)
{
	const char *given = json_text_or(config, "web_dir", NULL);
	char program[4096];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	scoped(text_free) char *beside = NULL;

	if (given || length <= 0)
		return web_open(given ? given : WEB_DIRECTORY, web, error);
	program[length] = '\0';
	*strrchr(program, '/') = '\0';
	beside = text_new("%s/../" WEB_BESIDE, program);
	if (!beside)
		return error_no_memory(error);
	return web_open(access(beside, R_OK) == 0 ? beside : WEB_DIRECTORY, web, error);
}

static int open_rooms(struct server *server, const json_t *config, struct rounds_error *error)
{
	const char *directory = json_text_or(config, "data_dir", "");
	struct app *app = &server->app;
	struct webhook_transport *transport;
	struct engine_options options = {
		.wake = wake,
		.context = app,
		.threads = processors(config),
		.uploads = { .bytes = (uint64_t)json_integer_or(config, "upload_limit", 0),
			.owner_bytes = (uint64_t)json_integer_or(config, "owner_upload_bytes", 0),
			.owner_count = (uint64_t)json_integer_or(config, "owner_uploads", 0) },
	};

	if (authority_load(directory, json_object_get(config, "hosts"), app->world, &server->authority, error) ||
		directory_keep_private(directory, error) || open_lock(directory, &server->lock, error) ||
		backup_is_copy(directory, json_bool_or(config, "original_is_gone", false), &app->is_copy, error) ||
		open_store(directory, &app->store, error) || blobs_open(directory, &app->blobs, error) ||
		auth_open(app->store, app->world, &app->auth, error) ||
		audit_open(app->store, app->world, directory, &app->audit, error))
		return -1;
	app->authority = &server->authority;
	options.world = app->world;
	options.store = app->store;
	options.blobs = app->blobs;
	if (open_web(config, &app->web, error) ||
		webhook_transport_new(json_text_or(config, "webhook_ca_file", NULL), &transport, error) ||
		webhooks_new(app->store, app->world, transport, &app->webhooks, error) ||
		read_proxies(config, server, error) || make_http(server, config, error) ||
		engine_open(&options, &app->engine, error))
		return -1;
	return open_feed(app, error);
}

static int open_port(struct server *server, const json_t *config, struct rounds_error *error)
{
	const char *port_file = json_text_or(config, "port_file", NULL);
	char port[16];

	/* A copy shows what it has: nothing in it moves, and it tells nobody. */
	if (feed_start(server->app.feed, error) || http_start(server->app.http, error) ||
		(!server->app.is_copy &&
			(webhooks_start(server->app.webhooks, error) || engine_start(server->app.engine, error))))
		return -1;
	if (server->app.is_copy)
		log_warn(
			"this data directory is a copy: no task is leased and no webhook is sent; start the server with "
			"--original-is-gone once the original will not run again",
			NULL);
	snprintf(port, sizeof(port), "%u\n", http_port(server->app.http));
	if (port_file && file_replace(port_file, port, strlen(port), 0644, error))
		return -1;
	port[strcspn(port, "\n")] = '\0';
	log_info("listening", "address", json_text_or(config, "address", ""), "port", port, "version", ROUNDS_VERSION,
		NULL);
	return 0;
}

/* No new leases; open uploads get a bounded time. */
static void drain(struct server *server)
{
	int64_t until = clock_steady_us() + server->drain_us;
	struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };

	log_info("stopping", NULL);
	engine_drain(server->app.engine);
	http_drain(server->app.http);
	while (uploads_active(server->app.blobs) > 0 && clock_steady_us() < until)
		nanosleep(&pause, NULL);
}

static void close_rooms(struct server *server)
{
	if (server->app.http)
		http_stop(server->app.http);
	feed_stop(server->app.feed);
	webhooks_stop(server->app.webhooks);
	engine_close(server->app.engine);
	audit_close(server->app.audit);
	/* Nobody writes any more, and so nobody is woken. */
	store_close(server->app.store);
	feed_free(server->app.feed);
	webhooks_free(server->app.webhooks);
	http_free(server->app.http);
	web_close(server->app.web);
	auth_close(server->app.auth);
	blobs_close(server->app.blobs);
	authority_free(&server->authority);
	free(server->proxies);
	file_close(server->lock);
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = ask_stop }, hangup = { .sa_handler = ask_reload };

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGHUP, &hangup, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on file size is an error of write, as a full disk is */
}

/* A server that runs for longer than its certificate shows a new one in time. */
static void keep_certificate(struct server *server, const json_t *config)
{
	struct authority *authority = &server->authority;
	struct rounds_error error;

	if (!authority_server_is_due(authority))
		return;
	if (authority_renew_server(
		    json_text_or(config, "data_dir", ""), json_object_get(config, "hosts"), authority, &error) ||
		http_show_certificate(CERTIFICATE_FOR_ALL, authority->server_pem, authority->server_key, &error))
		log_warn("the server's certificate is not renewed", "reason", error.message, NULL);
	else
		log_info("the server's certificate was renewed", NULL);
}

static void set_log_level(const json_t *config)
{
	enum log_level level = LOG_INFO;

	(void)log_level_parse(json_text_or(config, "log_level", "info"), &level);
	log_set_level(level);
}

/* SIGHUP: the settings are read again; of them, the level of the log and the own certificate can change in a running server. */
static void reload(void)
{
	json_auto_t *config = NULL, *words = json_array();
	struct rounds_error error = { 0 };

	reload_asked = 0;
	if (config_read(server_settings, arguments.argc, arguments.argv, 1, words, &config, &error) ||
		show_own_certificate(config, &error)) {
		log_warn("nothing is reloaded", "field", error.field[0] ? error.field : NULL, "reason", error.message,
			NULL);
		return;
	}
	set_log_level(config);
	log_info("reloaded: the level of the log and the own certificate", NULL);
}

/* The mask is closed but for the wait, so that a signal between the look and the wait is not lost. */
static void wait_for_stop(struct server *server, const json_t *config)
{
	const struct timespec between_looks = { .tv_sec = LOOK_SECONDS };
	sigset_t waiting;

	sigemptyset(&waiting);
	while (!stop_asked) {
		ppoll(NULL, 0, &between_looks, &waiting);
		if (reload_asked)
			reload();
		keep_certificate(server, config);
		audit_tick(server->app.audit);
		malloc_trim(0); /* what connections that have gone leave between those that stay */
	}
}

/* From when on there can be entries; what stops a server may be a loss of power, so its end is not said. */
static void record_start(struct server *server)
{
	const struct audit_entry entry = {
		.kind = "server.start", .about_kind = "version", .about_id = ROUNDS_VERSION
	};
	struct rounds_error error;

	if (audit_record(server->app.audit, &entry, &error))
		log_warn("the start is not in the audit log", "reason", error.message, NULL);
}

int serve(const json_t *config, const json_t *words)
{
	struct server server = { .app = { .world = world_real() },
		.lock = -1,
		.drain_us = json_integer_or(config, "drain_seconds", 10) * SECOND_US };
	struct rounds_error error = { 0 };
	sigset_t blocked;
	int failed;

	(void)words;
	webhook_transport_global_init();
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	catch_signals();
	failed = open_rooms(&server, config, &error) || open_port(&server, config, &error);
	if (!failed) {
		record_start(&server);
		wait_for_stop(&server, config);
		drain(&server);
	}
	close_rooms(&server);
	return failed ? say(&error) : 0;
}

static const struct server_command *find_command(const char *name)
{
	for (const struct server_command *command = server_commands; command->name; command++)
		if (!strcmp(command->name, name))
			return command;
	return NULL;
}

static int run(int argc, char **argv)
{
	json_auto_t *config = NULL, *words = json_array();
	struct rounds_error error = { 0 };
	const struct server_command *command;
	const char *name;

	if (config_read(server_settings, argc, argv, 1, words, &config, &error))
		return say(&error);
	name = json_string_value(json_array_get(words, 0));
	command = find_command(name && strcmp(name, "run") != 0 ? name : "");
	if (!command) {
		fprintf(stderr, "rounds-server: there is no command \"%.60s\"; see rounds-server --help\n", name);
		return 2;
	}
	json_array_remove(words, 0);
	if (json_array_size(words) < command->least || json_array_size(words) > command->most) {
		fprintf(stderr, "usage: rounds-server %s [OPTION...] %s\n", command->name, command->usage);
		return 2;
	}
	if (json_bool_or(config, "check_config", false))
		return puts("The settings are right.") < 0;
	log_setup(LOG_INFO, json_bool_or(config, "log_json", false));
	set_log_level(config);
	return command->run(config, words);
}

int main(int argc, char **argv)
{
	const struct program *program = server_program();

	process_keep_private();
	if (program_describes(program, argc, argv))
		return 0;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return program_help(program), 0;
	if (argc > 1 && !strcmp(argv[1], "--version"))
		return puts("rounds-server " ROUNDS_VERSION) < 0;
	arguments.argc = argc;
	arguments.argv = argv;
	return run(argc, argv);
}
