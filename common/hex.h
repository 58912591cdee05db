/* Bytes as lower-case hexadecimal digits. */
#ifndef ROUNDS_COMMON_HEX_H
#define ROUNDS_COMMON_HEX_H

#include "common/world.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `text` needs 2 * size + 1 bytes. */
void hex_format(const uint8_t *bytes, size_t size, char *text);

/* True if `text` is exactly 2 * size lower-case digits. */
bool hex_parse(const char *text, uint8_t *bytes, size_t size);

/* `size` random bytes as text: names and secrets nobody can guess. */
void hex_random(struct world *world, size_t size, char *text);

#endif
