#include "common/uuid.h"

#include "common/clock.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Milliseconds in the upper 48 bits, a counter in the 12 bits of rand_a (RFC 9562, 6.2, method 1). */
static uint64_t next_stamp(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static uint64_t last;
	uint64_t now = (uint64_t)(clock_wall_us() / 1000) << 12;

	pthread_mutex_lock(&lock);
	last = now > last ? now : last + 1;
	now = last;
	pthread_mutex_unlock(&lock);
	return now;
}

void uuid_new(char text[UUID_TEXT_SIZE])
{
	uint64_t stamp = next_stamp();
	uint64_t tail;

	if (RAND_bytes((unsigned char *)&tail, sizeof(tail)) != 1)
		abort(); /* a system without randomness cannot run securely */
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
