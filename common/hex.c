#include "common/hex.h"

#include <string.h>

static const char digits[] = "0123456789abcdef";

void hex_format(const uint8_t *bytes, size_t size, char *text)
{
	for (size_t i = 0; i < size; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	text[2 * size] = '\0';
}

static int digit(char c)
{
	const char *found = c ? strchr(digits, c) : NULL;

	return found ? (int)(found - digits) : -1;
}

bool hex_parse(const char *text, uint8_t *bytes, size_t size)
{
	if (strlen(text) != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void hex_random(struct world *world, size_t size, char *text)
{
	uint8_t byte;

	for (size_t i = 0; i < size; i++) {
		world_random(world, &byte, 1);
		hex_format(&byte, 1, text + 2 * i);
	}
}
