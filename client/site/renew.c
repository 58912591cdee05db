#include "client/site/renew.h"

#include "client/site/settings.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/x509.h"

#include <string.h>

enum { PEM_LIMIT = 64 * 1024, RENEW_DAYS = 30, RETRY_SECONDS = 3600 };

/* Thirty days before the end, or when a third of a shorter life is left. */
static bool is_due(const struct certificate_facts *facts)
{
	int64_t month = RENEW_DAYS * 86400 * SECOND_US, third = (facts->not_after_us - facts->not_before_us) / 3;

	return clock_wall_us() > facts->not_after_us - (third < month ? third : month);
}

/* The key stays: so there is one file to replace, and a crash leaves the old certificate or the new one. */
static int renew(struct site *site, struct connection *connection, const char *key, struct rounds_error *error)
{
	scoped(text_free) char *authority = NULL;
	scoped(text_free) char *request = NULL;
	scoped(text_free) char *certificate = NULL;
	json_auto_t *body = NULL, *answer = NULL;
	const char *given = "";

	if (file_read(site->ca_path, PEM_LIMIT, &authority, NULL, error) ||
		certificate_request("rounds-site", key, &request, error))
		return -1;
	body = json_pack("{s:s}", "request", request);
	return connection_call(connection, "POST", "/api/v1/certificate", body, 30, &answer, error) ||
			       json_get_text(answer, "certificate", true, &given, error) ||
			       certificate_alone(given, &certificate, error) ||
			       certificate_check(certificate, authority, key, error) ||
			       file_replace(site->cert_path, certificate, strlen(certificate), 0644, error)
		       ? -1
		       : 0;
}

void renew_in_time(struct site *site, struct connection *connection, int64_t *next_us)
{
	scoped(text_free) char *certificate = NULL;
	scoped(text_free) char *key = NULL;
	struct certificate_facts facts;
	struct rounds_error error = { 0 };

	if (clock_steady_us() < *next_us)
		return;
	*next_us = clock_steady_us() + RETRY_SECONDS * SECOND_US;
	if (file_read(site->cert_path, PEM_LIMIT, &certificate, NULL, &error) ||
		certificate_read(certificate, &facts, &error)) {
		log_warn("cannot read the own certificate", "reason", error.message, NULL);
		return;
	}
	if (!is_due(&facts))
		return;
	if (file_read(site->key_path, PEM_LIMIT, &key, NULL, &error) || renew(site, connection, key, &error))
		log_warn("the certificate is not renewed yet", "reason", error.message, NULL);
	else
		log_info("the certificate was renewed", NULL);
}
