/* rounds-server: puts the rooms together, and takes them apart in the right order. */
#include "common/clock.h"
#include "common/config.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/process.h"
#include "common/text.h"
#include "server/engine/spec.h"
#include "server/routes/app.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct field settings[] = {
	{ "data_dir", FIELD_TEXT, "Where everything is kept", .fallback = "\"/var/lib/rounds\"", .min = 1,
		.max = 1000 },
	{ "address", FIELD_TEXT, "The address to listen on; `::` is every one, IPv4 and IPv6",
		.fallback = "\"0.0.0.0\"", .min = 1, .max = 63 },
	{ "port", FIELD_INTEGER, "The port to listen on; 0: any free one", .fallback = "8443", .min = 0,
		.max = 65535 },
	{ "hosts", FIELD_TEXTS, "Names and addresses by which sites reach this server, for its certificate",
		.fallback = "[\"localhost\", \"127.0.0.1\"]", .min = 1, .max = 100 },
	{ "web_dir", FIELD_TEXT, "Where the dashboard's built files are", .fallback = "\"" WEB_DIRECTORY "\"",
		.min = 1, .max = 1000 },
	{ "webhook_ca_file", FIELD_TEXT,
		"Authorities (PEM) that receivers of webhooks are checked against; none: the system's", .min = 1,
		.max = 1000 },
	{ "io_threads", FIELD_INTEGER, "Threads that move bytes", .fallback = "2", .min = 1, .max = 64 },
	{ "workers", FIELD_INTEGER, "Threads that handle requests", .fallback = "8", .min = 1, .max = 256 },
	{ "connections", FIELD_INTEGER, "How many connections may be open; fewer where descriptors are few",
		.fallback = "20000", .min = 16, .max = 1000000 },
	{ "anonymous_connections", FIELD_INTEGER,
		"How many of them one address may hold that has not shown a certificate, a token or a session",
		.fallback = "256", .min = 8, .max = 1000000 },
	{ "proxies", FIELD_TEXTS, "Addresses of proxies that pass TLS through and begin with a PROXY v2 header",
		.fallback = "[]", .min = 0, .max = 100 },
	{ "aggregation_threads", FIELD_INTEGER, "Threads of an aggregation; 0: one per processor", .fallback = "0",
		.min = 0, .max = 64 },
	{ "upload_limit", FIELD_INTEGER, "Bytes of the largest model or update", .fallback = "68719476736",
		.min = 1024, .max = 1e15 },
	{ "owner_uploads", FIELD_INTEGER,
		"How many uploads and models that no job uses yet one site or person may have", .fallback = "100",
		.min = 1, .max = 1000000 },
	{ "owner_upload_bytes", FIELD_INTEGER, "The same in bytes; an upload counts whole from its beginning",
		.fallback = "274877906944", .min = 1024, .max = 1e15 },
	{ "drain_seconds", FIELD_INTEGER, "How long a stop waits for uploads", .fallback = "10", .min = 0,
		.max = 3600 },
	{ "port_file", FIELD_TEXT, "Where to write the port once the server listens", .min = 1, .max = 1000 },
	{ "log_level", FIELD_TEXT, "What to log", .fallback = "\"info\"",
		.choices = { "debug", "info", "warn", "error" } },
	{ "log_json", FIELD_BOOL, "Log lines as JSON", .fallback = "false" },
	{ "check_config", FIELD_BOOL, "Check the settings and stop", .fallback = "false" },
	{ NULL },
};

enum { LOOK_SECONDS = 5 };

static volatile sig_atomic_t stop_asked;

static void ask_stop(int signal_number)
{
	(void)signal_number;
	stop_asked = 1;
}

struct server {
	struct app app;
	struct authority authority;
	struct engine *engine;
	struct in6_addr *proxies;
	int lock;
	int64_t drain_us;
};

static int say(const struct rounds_error *error)
{
	fprintf(stderr, "rounds-server: %s%s%s\n", error->field, error->field[0] ? " " : "", error->message);
	return error->kind == ERROR_INVALID ? 2 : 1;
}

static void wake(void *context, const char *key)
{
	struct app *app = context;

	if (app->webhooks && !strncmp(key, "job:", 4))
		webhooks_touch(app->webhooks);
	if (app->feed && !strncmp(key, "job:", 4))
		feed_touch(app->feed, key + 4);
	if (app->feed && !strncmp(key, "progress:", 9))
		feed_touch(app->feed, key + 9);
	else
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

static int open_lock(const char *directory, int *lock, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/lock", directory);

	if (!path)
		return error_no_memory(error);
	*lock = file_lock(path, error);
	if (*lock >= 0)
		return 0;
	return error_prefix(error, "another rounds-server runs on %s", directory);
}

static int open_store(const char *directory, struct store **store, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/rounds.db", directory);

	if (!path)
		return error_no_memory(error);
	return store_open(path, store, error);
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

	return http_new(&options, &server->app.http, error) || http_show_certificate(server->authority.server_pem,
								       server->authority.server_key, error)
		       ? -1
		       : 0;
}

static int open_rooms(struct server *server, const json_t *config, struct rounds_error *error)
{
	const char *directory = json_text_or(config, "data_dir", "");
	struct app *app = &server->app;
	struct engine_options options = {
		.wake = wake,
		.context = app,
		.threads = processors(config),
		.uploads = { .bytes = (uint64_t)json_integer_or(config, "upload_limit", 0),
			.owner_bytes = (uint64_t)json_integer_or(config, "owner_upload_bytes", 0),
			.owner_count = (uint64_t)json_integer_or(config, "owner_uploads", 0) },
	};

	if (authority_load(directory, json_object_get(config, "hosts"), &server->authority, error) ||
		directory_keep_private(directory, error) || open_lock(directory, &server->lock, error) ||
		open_store(directory, &app->store, error) || blobs_open(directory, &app->blobs, error) ||
		auth_open(app->store, &app->auth, error))
		return -1;
	app->authority = &server->authority;
	options.store = app->store;
	options.blobs = app->blobs;
	if (web_open(json_text_or(config, "web_dir", ""), &app->web, error) ||
		webhooks_new(app->store, json_text_or(config, "webhook_ca_file", NULL), &app->webhooks, error) ||
		read_proxies(config, server, error) || make_http(server, config, error) ||
		engine_open(&options, &app->engine, error))
		return -1;
	return open_feed(app, error);
}

static int open_port(struct server *server, const json_t *config, struct rounds_error *error)
{
	const char *port_file = json_text_or(config, "port_file", NULL);
	char port[16];

	if (feed_start(server->app.feed, error) || webhooks_start(server->app.webhooks, error) ||
		http_start(server->app.http, error) || engine_start(server->app.engine, error))
		return -1;
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
	/* The writer may still wake those who wait: it ends before what it wakes. */
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
	struct sigaction action = { .sa_handler = ask_stop };

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
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
		http_show_certificate(authority->server_pem, authority->server_key, &error))
		log_warn("the server's certificate is not renewed", "reason", error.message, NULL);
	else
		log_info("the server's certificate was renewed", NULL);
}

/* The mask is closed but for the wait, so that a signal between the look and the wait is not lost. */
static void wait_for_stop(struct server *server, const json_t *config)
{
	const struct timespec between_looks = { .tv_sec = LOOK_SECONDS };
	sigset_t waiting;

	sigemptyset(&waiting);
	while (!stop_asked) {
		ppoll(NULL, 0, &between_looks, &waiting);
		keep_certificate(server, config);
	}
}

static int serve(const json_t *config)
{
	struct server server = { .lock = -1, .drain_us = json_integer_or(config, "drain_seconds", 10) * SECOND_US };
	struct rounds_error error = { 0 };
	sigset_t blocked;
	int failed;

	webhooks_global_init();
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	catch_signals();
	failed = open_rooms(&server, config, &error) || open_port(&server, config, &error);
	if (!failed) {
		wait_for_stop(&server, config);
		drain(&server);
	}
	close_rooms(&server);
	return failed ? say(&error) : 0;
}

static int write_token(const char *directory, const char *secret, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/admin.token", directory);

	if (!path)
		return error_no_memory(error);
	return file_replace(path, secret, strlen(secret), 0600, error);
}

static void say_ready(const json_t *config, const struct authority *authority, const struct setup *setup)
{
	const char *directory = json_text_or(config, "data_dir", "");
	const char *host = json_string_value(json_array_get(json_object_get(config, "hosts"), 0));
	long long port = json_integer_or(config, "port", 8443);

	printf("A Rounds server is ready in %s.\n\n"
	       "  Start it:     rounds-server --data-dir %s\n"
	       "  Dashboard:    https://%s:%lld/#/setup/%s\n"
	       "                opens the account \"admin\", once, within two days: choose a password there\n"
	       "  Log in:       rounds login https://%s:%lld --ca-fingerprint %s < %s/admin.token\n"
	       "  Invite sites: rounds site invite NAME\n\n"
	       "admin.token is the first administrator's token. Keep it secret, or delete it once you are logged "
	       "in.\nBrowsers warn of the certificate until they trust %s/ca.pem.\n",
		directory, directory, host, port, setup->secret, host, port, authority->fingerprint, directory,
		directory);
}

static int init(const json_t *config)
{
	const char *directory = json_text_or(config, "data_dir", "");
	struct authority authority = { 0 };
	scoped(store_close) struct store *store = NULL;
	scoped(auth_close) struct auth *auth = NULL;
	struct rounds_error error = { 0 };
	char secret[80], id[UUID_TEXT_SIZE];
	struct setup setup;

	if (authority_create(directory, &error) ||
		authority_load(directory, json_object_get(config, "hosts"), &authority, &error) ||
		open_store(directory, &store, &error) || auth_open(store, &auth, &error) ||
		auth_token_new(auth, NULL, "admin", "admin", 0, secret, id, &error) ||
		auth_user_add(auth, "admin", "admin", &setup, &error) || write_token(directory, secret, &error)) {
		authority_free(&authority);
		return say(&error);
	}
	say_ready(config, &authority, &setup);
	authority_free(&authority);
	return 0;
}

/* For the tests that hold documentation and program together. */
static int print_routes(void)
{
	json_auto_t *list = json_array();

	for (const struct route *route = routes; route->method; route++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:b, s:s}", "method", route->method, "path", route->path,
				      "summary", route->summary, "public", route->permission == ANYONE, "permission",
				      permission_name((enum permission)route->permission)));
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

static int print_schema(void)
{
	json_auto_t *schema = spec_schema();

	json_dumpf(schema, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

static int help(void)
{
	puts("rounds-server: coordinates federated learning between sites.\n\n"
	     "  rounds-server [OPTION...]       run the server\n"
	     "  rounds-server init [OPTION...]  make its data directory, certificate authority and first token\n"
	     "  rounds-server schema            print the JSON Schema of a job\n"
	     "  rounds-server routes            print the API's paths as JSON\n"
	     "  rounds-server --version\n\n"
	     "Options (also ROUNDS_NAME in the environment, or \"name\" in the JSON file that --config names):");
	config_help(settings);
	return 0;
}

int main(int argc, char **argv)
{
	json_auto_t *config = NULL;
	struct rounds_error error = { 0 };
	const char *command = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
	enum log_level level = LOG_INFO;

	process_keep_private();
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return help();
	if (argc > 1 && !strcmp(argv[1], "--version"))
		return puts("rounds-server " ROUNDS_VERSION) < 0;
	if (!strcmp(command, "schema"))
		return print_schema();
	if (!strcmp(command, "routes"))
		return print_routes();
	if (*command && strcmp(command, "init") != 0 && strcmp(command, "run") != 0) {
		fprintf(stderr, "rounds-server: there is no command \"%s\"; see rounds-server --help\n", command);
		return 2;
	}
	if (config_read(settings, argc, argv, *command ? 2 : 1, NULL, &config, &error))
		return say(&error);
	if (json_bool_or(config, "check_config", false))
		return puts("The settings are right.") < 0;
	(void)log_level_parse(json_text_or(config, "log_level", "info"), &level);
	log_setup(level, json_bool_or(config, "log_json", false));
	return *command && !strcmp(command, "init") ? init(config) : serve(config);
}
