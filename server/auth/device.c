#include "server/auth/device.h"

#include "common/hex.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE = 32, MAC = 64 };

static bool sign(
	const char *account, const char *password_hash, const char *nonce, long long expires, char mac[MAC + 1])
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	char text[160];
	int length = snprintf(text, sizeof(text), "device\n%.63s\n%s\n%lld", account, nonce, expires);

	if (!HMAC(EVP_sha256(), password_hash, (int)strlen(password_hash), (const unsigned char *)text,
		    (size_t)length, bytes, &size))
		return false;
	hex_format(bytes, MAC / 2, mac);
	return true;
}

void device_new(struct world *world, const char *account, const char *password_hash, char device[DEVICE_SIZE])
{
	long long expires = world_wall_us(world) / SECOND_US + DEVICE_SECONDS;
	char nonce[NONCE + 1], mac[MAC + 1];

	device[0] = '\0';
	hex_random(world, NONCE / 2, nonce);
	if (sign(account, password_hash, nonce, expires, mac))
		snprintf(device, DEVICE_SIZE, "%s.%lld.%s", nonce, expires, mac);
}

bool device_check(
	struct world *world, const char *device, const char *account, const char *password_hash, char nonce[33])
{
	char mac[MAC + 1];
	long long expires;
	char *end;

	if (!device || !password_hash || strlen(device) >= DEVICE_SIZE ||
		strspn(device, "0123456789abcdef") != NONCE || device[NONCE] != '.')
		return false;
	expires = strtoll(device + NONCE + 1, &end, 10);
	if (*end != '.' || strlen(end + 1) != MAC || expires < world_wall_us(world) / SECOND_US)
		return false;
	memcpy(nonce, device, NONCE);
	nonce[NONCE] = '\0';
	return sign(account, password_hash, nonce, expires, mac) && CRYPTO_memcmp(mac, end + 1, MAC) == 0;
}
