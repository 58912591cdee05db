#include "client/site/join.h"

#include "client/authority.h"
#include "client/site/keys.h"
#include "client/site/settings.h"
#include "common/file.h"
#include "common/json.h"
#include "common/x509.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int keep(const json_t *settings, const char *name, const char *text, mode_t mode, struct rounds_error *error)
{
	scoped(text_free) char *path = state_path(settings, name);

	return path ? file_replace(path, text, strlen(text), mode, error) : error_no_memory(error);
}

/* An invitation is SECRET.FINGERPRINT, so that the site knows the authority before it speaks to it. */
static int read_fingerprint(const char *invitation, char fingerprint[DIGEST_TEXT_SIZE], struct rounds_error *error)
{
	const char *dot = strchr(invitation, '.');
	struct digest digest;

	snprintf(fingerprint, DIGEST_TEXT_SIZE, "sha256:%.64s", dot ? dot + 1 : "");
	if (!dot || !digest_parse(fingerprint, &digest) || strlen(dot + 1) != 64)
		return error_set(error, ERROR_INVALID,
			"this is not an invitation: copy the whole text that `rounds site invite` printed");
	return 0;
}

static int ask_certificate(const json_t *settings, const char *url, const char *ca_file, const char *invitation,
	const char *key, char **certificate, char **name, struct rounds_error *error)
{
	scoped(text_free) char *request = NULL;
	const char *given = "", *site = "";
	scoped(connection_free) struct connection *connection = NULL;
	json_auto_t *body = NULL, *answer = NULL;
	struct connection_options options = {
		.url = url,
		.ca_file = ca_file,
		.proxy = json_text_or(settings, "proxy", NULL),
	};

	if (certificate_request("rounds-site", key, &request, error) || connection_new(&options, &connection, error))
		return -1;
	body = json_pack("{s:s, s:s}", "invitation", invitation, "request", request);
	if (connection_call(connection, "POST", "/api/v1/join", body, 30, &answer, error) ||
		json_get_text(answer, "certificate", true, &given, error) ||
		json_get_text(answer, "site", true, &site, error))
		return -1;
	if (certificate_alone(given, certificate, error))
		return error_prefix(error, "the server's answer");
	if (!name_is_valid(site))
		return error_set(error, ERROR_INVALID, "the server gave this site a name that is none");
	*name = strdup(site);
	return *name ? 0 : error_no_memory(error);
}

/* A site that joins anew goes on with its keys. Another site's, from before, are put aside. */
static int make_keys(const json_t *settings, const char *name, struct rounds_error *error)
{
	scoped(own_keys) struct own_keys keys = { 0 };
	scoped(text_free) char *path = state_path(settings, "site.keys");
	scoped(text_free) char *aside = state_path(settings, "site.keys.before");

	if (!path || !aside)
		return error_no_memory(error);
	if (keys_open(settings, name, &keys, error) == 0)
		return 0;
	if (error->kind != ERROR_CONFLICT)
		return -1;
	if (rename(path, aside))
		return error_errno(error, "cannot rename %s", path);
	*error = (struct rounds_error){ 0 };
	return keys_open(settings, name, &keys, error);
}

int join(const json_t *settings, const char *url, const char *invitation, struct rounds_error *error)
{
	scoped(text_free) char *cert_path = state_path(settings, "site.pem");
	scoped(text_free) char *ca_path = state_path(settings, "ca.pem");
	scoped(text_free) char *key = NULL;
	scoped(text_free) char *authority = NULL;
	scoped(text_free) char *certificate = NULL;
	scoped(text_free) char *name = NULL;
	char fingerprint[DIGEST_TEXT_SIZE];

	if (!cert_path || !ca_path)
		return error_no_memory(error);
	if (access(cert_path, F_OK) == 0)
		return error_set(error, ERROR_CONFLICT,
			"this site has joined already: %s is there; remove it to join anew", cert_path);
	if (read_fingerprint(invitation, fingerprint, error) ||
		directory_make(json_text_or(settings, "state_dir", ""), 0700, error) ||
		authority_fetch(url, fingerprint, json_text_or(settings, "proxy", NULL), &authority, error) ||
		keep(settings, "ca.pem", authority, 0644, error) || key_new(&key, error) ||
		ask_certificate(settings, url, json_text_or(settings, "ca_file", ca_path), invitation, key,
			&certificate, &name, error) ||
		certificate_check(certificate, authority, key, error) || make_keys(settings, name, error) ||
		keep(settings, "site.key", key, 0600, error) || keep(settings, "site.name", name, 0644, error) ||
		keep(settings, "server", url, 0644, error) || keep(settings, "site.pem", certificate, 0644, error))
		return -1;
	printf("Joined %s as \"%s\". Start rounds-site to take part.\n", url, name);
	return 0;
}
