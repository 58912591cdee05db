/*
 * Passwords are kept as scrypt hashes (RFC 7914, through OpenSSL): "scrypt$N$r$p$salt$key", salt and key hexadecimal.
 * A hash takes 32 MiB and about a quarter of a second, so callers bound how many run at once.
 */
#ifndef ROUNDS_SERVER_AUTH_PASSWORD_H
#define ROUNDS_SERVER_AUTH_PASSWORD_H

#include "common/error.h"
#include "common/world.h"

#include <stdbool.h>

#define PASSWORD_HASH_SIZE 160

/* Whether it may be chosen: 10 to 200 characters, more than a few different ones, not the name itself. */
must_check int password_check(const char *password, const char *name, struct rounds_error *error);
must_check int password_hash(
	struct world *world, const char *password, char hash[PASSWORD_HASH_SIZE], struct rounds_error *error);
/* Takes as long where `hash` is NULL (nobody of that name) as where it is wrong. */
bool password_matches(const char *password, const char *hash);

#endif
