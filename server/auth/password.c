#include "server/auth/password.h"

#include "common/hex.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { SALT = 16, KEY = 32, COST = 1 << 15, BLOCK = 8, LANES = 3, MEMORY = 64 << 20, LEAST = 10, MOST = 200 };

static bool derive(const char *password, const uint8_t salt[SALT], uint64_t cost, uint64_t block, uint64_t lanes,
	uint8_t key[KEY])
{
	return EVP_PBE_scrypt(password, strlen(password), salt, SALT, cost, block, lanes, MEMORY, key, KEY) == 1;
}

int password_check(const char *password, const char *name, struct rounds_error *error)
{
	size_t length = strlen(password), different = 0;
	bool seen[256] = { false };

	for (const char *at = password; *at; at++) {
		different += !seen[(unsigned char)*at];
		seen[(unsigned char)*at] = true;
	}
	if (length < LEAST || length > MOST)
		return error_field(error, "password", "must have %d to %d characters", LEAST, MOST);
	if (different < 5 || !strcasecmp(password, name))
		return error_field(error, "password", "is too easy to guess");
	return 0;
}

int password_hash(
	struct world *world, const char *password, char hash[PASSWORD_HASH_SIZE], struct rounds_error *error)
{
	uint8_t salt[SALT], key[KEY];
	char salt_text[2 * SALT + 1], key_text[2 * KEY + 1];

	world_random(world, salt, SALT);
	if (!derive(password, salt, COST, BLOCK, LANES, key))
		return error_set(error, ERROR_INTERNAL, "the password cannot be hashed");
	hex_format(salt, SALT, salt_text);
	hex_format(key, KEY, key_text);
	snprintf(hash, PASSWORD_HASH_SIZE, "scrypt$%d$%d$%d$%s$%s", COST, BLOCK, LANES, salt_text, key_text);
	return 0;
}

bool password_matches(const char *password, const char *hash)
{
	unsigned cost = COST, block = BLOCK, lanes = LANES;
	char salt_text[2 * SALT + 1] = "", key_text[2 * KEY + 1] = "";
	uint8_t salt[SALT] = { 0 }, expected[KEY] = { 0 }, key[KEY];
	bool known = hash &&
		     sscanf(hash, "scrypt$%u$%u$%u$%32[0-9a-f]$%64[0-9a-f]", &cost, &block, &lanes, salt_text,
			     key_text) == 5 &&
		     hex_parse(salt_text, salt, SALT) && hex_parse(key_text, expected, KEY);

	if (strlen(password) > MOST || !derive(password, salt, cost, block, lanes, key))
		return false;
	return CRYPTO_memcmp(key, expected, KEY) == 0 && known;
}
