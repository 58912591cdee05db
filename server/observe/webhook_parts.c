#include "server/observe/webhook_parts.h"

#include "common/text.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <string.h>

#define SECRET_PREFIX "whsec_"

enum { SECRET_BYTES = 32 };

const char *const event_kinds[] = { "running", "paused", "resumed", "completed", "failed", "aborted", "task_failed",
	"queued", "round_started", "aggregating", "aggregated", "task_leased", "task_retry", "task_released",
	"result", "metric_missing", "note", "log", NULL };

void webhook_secret(struct world *world, char secret[WEBHOOK_SECRET_SIZE])
{
	unsigned char bytes[SECRET_BYTES];

	world_random(world, bytes, sizeof(bytes));
	strcpy(secret, SECRET_PREFIX);
	EVP_EncodeBlock((unsigned char *)secret + strlen(SECRET_PREFIX), bytes, sizeof(bytes));
}

static bool is_this_machine(const char *host)
{
	return !strcmp(host, "localhost") || !strcmp(host, "127.0.0.1") || !strcmp(host, "[::1]");
}

static int check_parts(CURLU *parts, struct rounds_error *error)
{
	char *scheme = NULL, *host = NULL, *user = NULL;
	int failed = 0;

	curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
	curl_url_get(parts, CURLUPART_HOST, &host, 0);
	curl_url_get(parts, CURLUPART_USER, &user, 0);
	if (user)
		failed = error_field(error, "url", "must not hold a password: deliveries are signed instead");
	else if (!scheme || !host ||
		 (strcmp(scheme, "https") != 0 && (strcmp(scheme, "http") != 0 || !is_this_machine(host))))
		failed = error_field(error, "url",
			"must begin with https:// (http:// only to a program on the server's own machine)");
	curl_free(scheme);
	curl_free(host);
	curl_free(user);
	return failed;
}

int webhook_check_url(const char *url, struct rounds_error *error)
{
	CURLU *parts = curl_url();
	CURLUcode code = parts ? curl_url_set(parts, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;
	int failed;

	if (!parts)
		return error_no_memory(error);
	failed = code == CURLUE_OK ? check_parts(parts, error)
				   : error_field(error, "url", "must be a URL such as https://example.org/hook");
	curl_url_cleanup(parts);
	return failed;
}

int webhook_sign(const char *secret, const char *id, long long timestamp, const char *body,
	char signature[WEBHOOK_SIGNATURE_SIZE])
{
	scoped(text_free) char *text = text_new("%s.%lld.%s", id, timestamp, body);
	unsigned char key[64], mac[EVP_MAX_MD_SIZE];
	const char *encoded = secret + strlen(SECRET_PREFIX);
	unsigned size = 0;
	bool made = text && strlen(encoded) < sizeof(key) &&
		    EVP_DecodeBlock(key, (const unsigned char *)encoded, (int)strlen(encoded)) > 0 &&
		    HMAC(EVP_sha256(), key, SECRET_BYTES, (const unsigned char *)text, strlen(text), mac, &size);

	if (!made)
		return -1;
	strcpy(signature, "v1,");
	EVP_EncodeBlock((unsigned char *)signature + 3, mac, (int)size);
	return 0;
}
