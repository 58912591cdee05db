#include "common/uuid.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Milliseconds in the upper 48 bits, a counter in the 12 bits of rand_a (RFC 9562, 6.2, method 1). */
static uint64_t next_stamp(struct world *world)
{
	uint64_t now = (uint64_t)(world_wall_us(world) / 1000) << 12, next;
	uint_fast64_t last = atomic_load(&world->stamp);

	do
		next = now > last ? now : last + 1;
	while (!atomic_compare_exchange_weak(&world->stamp, &last, next));
	return next;
}

void uuid_new(struct world *world, char text[UUID_TEXT_SIZE])
{
	uint64_t stamp = next_stamp(world);
	uint64_t tail;

	world_random(world, &tail, sizeof(tail));
	tail = (tail & UINT64_C(0x3fffffffffffffff)) | UINT64_C(0x8000000000000000);
	snprintf(text, UUID_TEXT_SIZE, "%08x-%04x-7%03x-%04x-%012llx", (unsigned)(stamp >> 28),
		(unsigned)(stamp >> 12) & 0xffff, (unsigned)stamp & 0xfff, (unsigned)(tail >> 48),
		(unsigned long long)(tail & UINT64_C(0xffffffffffff)));
}

bool uuid_is_valid(const char *text)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(text) != sizeof(shape) - 1)
		return false;
	for (size_t i = 0; shape[i]; i++)
		if (shape[i] == '-' ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
			return false;
	return true;
}
