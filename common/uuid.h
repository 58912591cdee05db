/* UUID version 7 (RFC 9562, section 5.7): ids that sort by the time they were made. */
#ifndef ROUNDS_COMMON_UUID_H
#define ROUNDS_COMMON_UUID_H

#include "common/world.h"

#include <stdbool.h>

#define UUID_TEXT_SIZE 37

/* Later calls in one world give greater ids, even within a microsecond or when the wall clock goes back. */
void uuid_new(struct world *world, char text[UUID_TEXT_SIZE]);

/* 8-4-4-4-12 hexadecimal digits in lower case. */
bool uuid_is_valid(const char *text);

#endif
