#include "client/authority.h"

#include "common/json.h"
#include "common/x509.h"

#include <string.h>

int authority_fetch(
	const char *url, const char *fingerprint, const char *proxy, char **pem, struct rounds_error *error)
{
	scoped(connection_free) struct connection *connection = NULL;
	struct connection_options options = { .url = url, .proxy = proxy, .unverified = true };
	scoped(text_free) char *alone = NULL;
	json_auto_t *answer = NULL;
	const char *certificate = "";
	char actual[DIGEST_TEXT_SIZE];

	if (connection_new(&options, &connection, error) ||
		connection_call(connection, "GET", "/api/v1/authority", NULL, 20, &answer, error) ||
		json_get_text(answer, "certificate", true, &certificate, error))
		return -1;
	if (certificate_alone(certificate, &alone, error) ||
		certificate_fingerprint(alone, actual, sizeof(actual), error))
		return error_prefix(error, "%s does not give an authority that can be trusted", url);
	if (strcmp(actual, fingerprint) != 0)
		return error_set(error, ERROR_FORBIDDEN,
			"%s is not the server that was meant: its authority has the fingerprint %s", url, actual);
	*pem = alone;
	alone = NULL;
	return 0;
}
