/*
 * Requests from outside, up to the parser: however the bytes are cut the parser sees the same, and what it sees is right
 * and in the one form that it keeps if it is passed again.
 */
#include "server/http/framing.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { LIMIT = 16384 };

struct sent {
	const uint8_t *bytes;
	size_t size, at, step;
};

struct passed {
	uint8_t bytes[LIMIT];
	size_t size;
	enum error_kind fault;
};

static ssize_t send_some(void *context, void *bytes, size_t room)
{
	struct sent *sent = context;
	size_t size = sent->size - sent->at;

	size = size < sent->step ? size : sent->step;
	size = size < room ? size : room;
	memcpy(bytes, sent->bytes + sent->at, size);
	sent->at += size;
	return (ssize_t)size;
}

static void pass(const uint8_t *bytes, size_t size, size_t step, struct passed *passed)
{
	struct framing framing = { 0 };
	struct sent sent = { bytes, size, 0, step };
	ssize_t got;

	passed->size = 0;
	while ((got = framing_read(&framing, send_some, &sent, passed->bytes + passed->size, step + 3)) > 0) {
		passed->size += (size_t)got;
		if (passed->size + step + 3 > LIMIT)
			abort();
	}
	passed->fault = framing.fault.kind;
	framing_clear(&framing);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct passed whole, pieces, again;

	if (size > LIMIT / 2)
		return 0;
	pass(bytes, size, LIMIT / 4, &whole);
	pass(bytes, size, 1, &pieces);
	if (whole.fault != pieces.fault || whole.size != pieces.size ||
		memcmp(whole.bytes, pieces.bytes, whole.size) != 0)
		abort();
	pass(whole.bytes, whole.size, 7, &again);
	if (again.fault || again.size != whole.size || memcmp(again.bytes, whole.bytes, whole.size) != 0)
		abort();
	return 0;
}
