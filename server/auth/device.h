/*
 * So that a stranger's guesses do not keep the right password out: a browser that has signed in once holds a cookie that
 * says so ("device cookie", OWASP's page of that name), and its later tries are counted for that cookie alone, not for the
 * account or the address, which strangers use up. It lets nobody in without the password.
 *
 * A cookie is "NONCE.EXPIRES.MAC": 128 random bits, wall time in seconds, and HMAC-SHA-256 over these and the account's
 * name. Its key is the account's stored scrypt hash: a new password voids all cookies of the account, and nothing is kept.
 *
 * Who has no such browser while an account is under attack asks an administrator for a set-up link (`rounds user reset`,
 * `rounds-server reset-admin`): that way in is not slowed by guesses at passwords.
 */
#ifndef ROUNDS_SERVER_AUTH_DEVICE_H
#define ROUNDS_SERVER_AUTH_DEVICE_H

#include "common/world.h"

#include <stdbool.h>
#include <stdint.h>

#define DEVICE_SIZE    128
#define DEVICE_SECONDS (180 * 86400)

/* Empty without memory. */
void device_new(struct world *world, const char *account, const char *password_hash, char device[DEVICE_SIZE]);

/* Whether the cookie (NULL: none) was made for this account while it had this password; `nonce` (33 bytes) names it. */
bool device_check(
	struct world *world, const char *device, const char *account, const char *password_hash, char nonce[33]);

#endif
