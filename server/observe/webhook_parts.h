/* What webhooks are made of: an address that may be used, a secret, the signature of a message. */
#ifndef ROUNDS_SERVER_OBSERVE_WEBHOOK_PARTS_H
#define ROUNDS_SERVER_OBSERVE_WEBHOOK_PARTS_H

#include "common/error.h"
#include "common/world.h"

/* Every kind of event there is, ending in NULL; the first WEBHOOK_DEFAULT_KINDS are what a webhook gets unasked. */
extern const char *const event_kinds[];
enum { WEBHOOK_DEFAULT_KINDS = 7 };

/* https://, or http:// to this machine itself; no password in it. */
must_check int webhook_check_url(const char *url, struct rounds_error *error);

/* A new secret to sign with: "whsec_" and base64 of 32 random bytes. */
#define WEBHOOK_SECRET_SIZE 64
void webhook_secret(struct world *world, char secret[WEBHOOK_SECRET_SIZE]);

/* "v1," and base64 of the HMAC-SHA-256 of "ID.TIMESTAMP.BODY" (Standard Webhooks 1.0); -1 without memory. */
#define WEBHOOK_SIGNATURE_SIZE 64
must_check int webhook_sign(const char *secret, const char *id, long long timestamp, const char *body,
	char signature[WEBHOOK_SIGNATURE_SIZE]);

#endif
