#include "server/auth/authority.h"

#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AUTHORITY_DAYS = 3650, SERVER_DAYS = 397, SITE_DAYS = 365, RENEW_DAYS = 30, PEM_LIMIT = 64 * 1024 };

static char *path_of(const char *directory, const char *name)
{
	return text_new("%s/%s", directory, name);
}

static int read_one(const char *directory, const char *name, char **text, struct rounds_error *error)
{
	scoped(text_free) char *path = path_of(directory, name);

	return path ? file_read(path, PEM_LIMIT, text, NULL, error) : error_no_memory(error);
}

static int write_one(const char *directory, const char *name, const char *text, struct rounds_error *error)
{
	scoped(text_free) char *path = path_of(directory, name);
	bool is_key = strstr(name, ".key") != NULL;

	return path ? file_replace(path, text, strlen(text), is_key ? 0600 : 0644, error) : error_no_memory(error);
}

static bool exists(const char *directory, const char *name)
{
	scoped(text_free) char *path = path_of(directory, name);

	return path && access(path, F_OK) == 0;
}

int authority_create(const char *directory, struct rounds_error *error)
{
	scoped(text_free) char *key = NULL;
	scoped(text_free) char *cert = NULL;

	if (exists(directory, "ca.key"))
		return error_set(error, ERROR_CONFLICT, "%s already holds a Rounds server", directory);
	return directory_make(directory, 0700, error) || key_new(&key, error) ||
			       authority_new("Rounds authority", key, AUTHORITY_DAYS, &cert, error) ||
			       write_one(directory, "ca.pem", cert, error) ||
			       write_one(directory, "ca.key", key, error)
		       ? -1
		       : 0;
}

/* What was there stays if it fails. */
static int issue_server(
	const char *directory, const json_t *hosts, struct authority *authority, struct rounds_error *error)
{
	scoped(text_free) char *request = NULL;
	scoped(free) void *names = calloc(json_array_size(hosts) + 1, sizeof(char *));
	struct certificate_facts facts;
	struct certificate_order order = {
		.authority_pem = authority->ca_pem,
		.authority_key_pem = authority->ca_key,
		.name = "rounds-server",
		.use = CERTIFICATE_SERVER,
		.hosts = names,
		.days = SERVER_DAYS,
	};
	scoped(text_free) char *list = json_canonical(hosts);
	scoped(text_free) char *key = NULL;
	scoped(text_free) char *certificate = NULL;

	if (!names || !list)
		return error_no_memory(error);
	for (size_t i = 0; i < json_array_size(hosts); i++)
		((const char **)names)[i] = json_string_value(json_array_get(hosts, i));
	if (key_new(&key, error) || certificate_request(order.name, key, &request, error))
		return -1;
	order.request_pem = request;
	if (certificate_issue(&order, &certificate, &facts, error))
		return -1;
	/* A key without its certificate is found at the next start, and both are made anew. */
	if (write_one(directory, "server.key", key, error) ||
		write_one(directory, "server.pem", certificate, error) ||
		write_one(directory, "server.hosts", list, error))
		return -1;
	free(authority->server_key);
	free(authority->server_pem);
	authority->server_key = key;
	authority->server_pem = certificate;
	key = certificate = NULL;
	return 0;
}

bool authority_server_is_due(const struct authority *authority)
{
	struct certificate_facts facts;
	struct rounds_error ignored;

	return certificate_read(authority->server_pem, &facts, &ignored) ||
	       facts.not_after_us < world_wall_us(authority->world) + RENEW_DAYS * 86400 * SECOND_US;
}

int authority_renew_server(
	const char *directory, const json_t *hosts, struct authority *authority, struct rounds_error *error)
{
	return issue_server(directory, hosts, authority, error);
}

/* The kept certificate serves while it is valid, belongs to its key and names these hosts. */
static bool server_is_current(const char *directory, const json_t *hosts, const struct authority *authority)
{
	scoped(text_free) char *known = NULL;
	scoped(text_free) char *wanted = json_canonical(hosts);
	struct rounds_error ignored;

	return !read_one(directory, "server.hosts", &known, &ignored) && wanted && !strcmp(known, wanted) &&
	       !certificate_check(authority->server_pem, authority->ca_pem, authority->server_key, &ignored) &&
	       !authority_server_is_due(authority);
}

int authority_load(const char *directory, const json_t *hosts, struct world *world, struct authority *authority,
	struct rounds_error *error)
{
	struct rounds_error ignored;

	authority->world = world;
	if (!exists(directory, "ca.key"))
		return error_set(error, ERROR_NOT_FOUND,
			"%s holds no Rounds server yet: run `rounds-server init --data-dir %s`", directory,
			directory);
	if (read_one(directory, "ca.pem", &authority->ca_pem, error) ||
		read_one(directory, "ca.key", &authority->ca_key, error) ||
		certificate_check(authority->ca_pem, authority->ca_pem, authority->ca_key, error) ||
		certificate_fingerprint(
			authority->ca_pem, authority->fingerprint, sizeof(authority->fingerprint), error))
		return -1;
	if (!read_one(directory, "server.pem", &authority->server_pem, &ignored) &&
		!read_one(directory, "server.key", &authority->server_key, &ignored) &&
		server_is_current(directory, hosts, authority))
		return 0;
	return issue_server(directory, hosts, authority, error);
}

void authority_free(struct authority *authority)
{
	free(authority->ca_pem);
	free(authority->ca_key);
	free(authority->server_pem);
	free(authority->server_key);
	memset(authority, 0, sizeof(*authority));
}

int authority_certify(const struct authority *authority, const char *site, const char *request_pem, char **cert_pem,
	struct certificate_facts *facts, struct rounds_error *error)
{
	struct certificate_order order = {
		.authority_pem = authority->ca_pem,
		.authority_key_pem = authority->ca_key,
		.request_pem = request_pem,
		.name = site,
		.use = CERTIFICATE_SITE,
		.days = SITE_DAYS,
	};

	return certificate_issue(&order, cert_pem, facts, error);
}
