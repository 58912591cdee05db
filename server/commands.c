#include "server/commands.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"
#include "server/backup.h"
#include "server/engine/spec.h"
#include "server/routes/app.h"
#include "server/store/accounts.h"

#include <stdio.h>
#include <string.h>

const struct field server_settings[] = {
	{ "data_dir", FIELD_TEXT, "Where everything is kept", .fallback = "\"/var/lib/rounds\"", .min = 1,
		.max = 1000 },
	{ "address", FIELD_TEXT, "The address to listen on; `::` is every one, IPv4 and IPv6",
		.fallback = "\"0.0.0.0\"", .min = 1, .max = 63 },
	{ "port", FIELD_INTEGER, "The port to listen on; 0: any free one", .fallback = "8443", .min = 0,
		.max = 65535 },
	{ "hosts", FIELD_TEXTS, "Names and addresses by which sites reach this server, for its certificate",
		.fallback = "[\"localhost\", \"127.0.0.1\"]", .min = 1, .max = 100 },
	{ "certificate", FIELD_TEXT,
		"A certificate of your own (PEM, with its chain), shown to those who ask for a name that it is made for",
		.min = 1, .max = 1000 },
	{ "key", FIELD_TEXT, "Its private key (PEM)", .min = 1, .max = 1000 },
	{ "web_dir", FIELD_TEXT,
		"Where the dashboard's built files are; else share/rounds/web beside the folder of this program",
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
	{ "original_is_gone", FIELD_BOOL,
		"This data directory is a copy, and the server that it was copied from will not run again",
		.fallback = "false" },
	{ "check_config", FIELD_BOOL, "Check the settings and stop", .fallback = "false" },
	{ NULL },
};

int say(const struct rounds_error *error)
{
	fprintf(stderr, "rounds-server: %s%s%s\n", error->field, error->field[0] ? " " : "", error->message);
	return error->kind == ERROR_INVALID ? 2 : 1;
}

int open_lock(const char *directory, int *lock, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/lock", directory);

	if (!path)
		return error_no_memory(error);
	*lock = file_lock(path, error);
	if (*lock >= 0)
		return 0;
	return error_prefix(error, "another rounds-server runs on %s", directory);
}

int open_store(const char *directory, struct store **store, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/rounds.db", directory);

	if (!path)
		return error_no_memory(error);
	return store_open(path, world_real(), store, error);
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

/* What is done at the server's own machine, by whoever may read its data directory. */
struct deed {
	struct audit *audit;
	struct audit_entry entry;
};

static int record_deed(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct deed *deed = argument;

	return audit_append(tx, deed->audit, &deed->entry, error);
}

static int init(const json_t *config, const json_t *words)
{
	const char *directory = json_text_or(config, "data_dir", "");
	struct authority authority = { 0 };
	scoped(store_close) struct store *store = NULL;
	scoped(auth_close) struct auth *auth = NULL;
	scoped(audit_close) struct audit *audit = NULL;
	struct rounds_error error = { 0 };
	char secret[80], id[UUID_TEXT_SIZE];
	struct setup setup;
	struct deed deed = { .entry = { .kind = "server.init" } };
	const struct store_witness witness = { .after = record_deed, .argument = &deed };

	(void)words;
	if (authority_create(directory, &error) ||
		authority_load(directory, json_object_get(config, "hosts"), world_real(), &authority, &error) ||
		open_store(directory, &store, &error) || auth_open(store, world_real(), &auth, &error) ||
		audit_open(store, world_real(), directory, &audit, &error)) {
		authority_free(&authority);
		return say(&error);
	}
	deed.audit = audit;
	store_attend(&witness);
	if (auth_token_new(auth, NULL, "admin", "admin", 0, secret, id, &error) ||
		auth_user_add(auth, "admin", "admin", &setup, &error) || write_token(directory, secret, &error)) {
		authority_free(&authority);
		return say(&error);
	}
	store_attend(NULL);
	say_ready(config, &authority, &setup);
	authority_free(&authority);
	return 0;
}

/* Whoever may read the data directory is an administrator already: this asks for nothing else. */
static int reset_admin(const json_t *config, const json_t *words)
{
	const char *directory = json_text_or(config, "data_dir", ""), *name = "admin";
	const char *host = json_string_value(json_array_get(json_object_get(config, "hosts"), 0));
	scoped(file_close) int lock = -1;
	scoped(store_close) struct store *store = NULL;
	scoped(auth_close) struct auth *auth = NULL;
	scoped(audit_close) struct audit *audit = NULL;
	struct rounds_error error = { 0 };
	struct setup setup;
	struct deed deed = { .entry = { .kind = "user.reset_admin" } };
	const struct store_witness witness = { .after = record_deed, .argument = &deed };

	if (json_array_size(words))
		name = json_string_value(json_array_get(words, 0));
	if (open_lock(directory, &lock, &error)) {
		error_prefix(&error, "stop the server first");
		return say(&error);
	}
	if (open_store(directory, &store, &error) || auth_open(store, world_real(), &auth, &error) ||
		audit_open(store, world_real(), directory, &audit, &error))
		return say(&error);
	deed.audit = audit;
	store_attend(&witness);
	if (auth_admin_reset(auth, name, &setup, &error))
		return say(&error);
	store_attend(NULL);
	printf("The account \"%s\" is an administrator's. Start the server; this link opens the account, once and within "
	       "two days,\nand ends its old password and sessions:\n\n  https://%s:%lld/#/setup/%s\n",
		name, host, (long long)json_integer_or(config, "port", 8443), setup.secret);
	return 0;
}

static void say_copied(const char *what, const char *to, const struct backup_report *report)
{
	printf("%s %s: the database, keys, %llu weights of %llu bytes.\n", what, to,
		(unsigned long long)report->blobs, (unsigned long long)report->bytes);
}

static int backup(const json_t *config, const json_t *words)
{
	const char *to = json_string_value(json_array_get(words, 0));
	struct rounds_error error = { 0 };
	struct backup_report report;

	if (backup_make(json_text_or(config, "data_dir", ""), to, &report, &error))
		return say(&error);
	say_copied("Backed up to", to, &report);
	return 0;
}

static int restore(const json_t *config, const json_t *words)
{
	const char *directory = json_text_or(config, "data_dir", "");
	struct rounds_error error = { 0 };
	struct backup_report report;

	if (backup_restore(json_string_value(json_array_get(words, 0)), directory, &report, &error))
		return say(&error);
	say_copied("Restored to", directory, &report);
	puts("Its server leases nothing and sends no webhook until it is started with --original-is-gone.");
	return 0;
}

/* For the tests that hold documentation and program together. */
static int print_routes(const json_t *config, const json_t *words)
{
	json_auto_t *list = json_array();

	(void)config;
	(void)words;

	for (const struct route *route = routes; route->method; route++)
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:b, s:s, s:s?}", "method", route->method, "path", route->path,
				"summary", route->summary, "public", route->permission == ANYONE, "permission",
				permission_name((enum permission)route->permission), "record", route->record));
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

static int print_schema(const json_t *config, const json_t *words)
{
	json_auto_t *schema = spec_schema();

	(void)config;
	(void)words;

	json_dumpf(schema, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

/* A table is read by its columns. */
/* clang-format off */
const struct server_command server_commands[] = {
	{ "", "", "run the server", serve, 0, 0 },
	{ "init", "", "make its data directory, certificate authority and first token", init, 0, 0 },
	{ "reset-admin", "[NAME]", "a new way in, where no administrator can sign in any more; the server must be stopped", reset_admin, 0, 1 },
	{ "backup", "DIR", "copy the data directory to DIR, also while the server runs", backup, 1, 1 },
	{ "restore", "DIR", "make a data directory from such a copy", restore, 1, 1 },
	{ "schema", "", "print the JSON Schema of a job", print_schema, 0, 0 },
	{ "routes", "", "print the API's paths as JSON", print_routes, 0, 0 },
	{ NULL },
};
/* clang-format on */

const struct program *server_program(void)
{
	enum { LIMIT = 20 };
	static struct program_command commands[LIMIT + 1];
	static const struct program program = {
		.name = "rounds-server",
		.section = 8,
		.summary = "coordinates federated learning between sites",
		.description =
			"keeps the state of every job of a federation and aggregates what its sites send. Weights alone "
			"leave a site; its data never do.",
		.commands = commands,
		.flags = server_settings,
		.has_file = true,
		.remarks =
			"SIGTERM lets uploads under way end and stops; SIGHUP reads the settings again, and of them takes over "
			"the level of the log and the certificate of your own.",
	};

	for (size_t i = 0; server_commands[i].name && i < LIMIT; i++)
		commands[i] = (struct program_command){ server_commands[i].name, server_commands[i].usage,
			server_commands[i].help, NULL };
	return &program;
}
