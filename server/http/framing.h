/*
 * Where a request ends (RFC 9112), decided before the library's parser sees a byte.
 *
 * libmicrohttpd 0.9.75 takes what two parsers may read as two different requests: a length and a transfer coding at
 * once, lengths that differ, bare line feeds, a space before a colon, no Host or two, NUL. With a proxy in front, that is
 * how a request is smuggled past its rules. So each connection's plaintext runs through this state machine (see tap.c):
 * a head is held until it is whole and right; bodies pass; chunked bodies pass in a canonical form, without extensions
 * and trailers. What is wrong never reaches the parser: it gets the shortest request, or end of a body, in its place, and
 * `fault` says what to answer. Nothing that follows on the connection is read.
 *
 * No I/O and no TLS in here: bytes come from a function.
 */
#ifndef ROUNDS_SERVER_HTTP_FRAMING_H
#define ROUNDS_SERVER_HTTP_FRAMING_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	HEAD_LIMIT = 64 * 1024,  /* bytes of a request line with its fields */
	HEAD_FIELDS = 200,       /* what the parser keeps of each takes memory of a fixed size, */
	HEAD_ARGUMENTS = 1000,   /* and so do arguments in the query, */
	HEAD_COOKIES = 200,      /* and cookies */
	CHUNK_LINE_LIMIT = 8192, /* a chunk's size and extensions, or the trailers */
};

struct framing {
	enum framing_state {
		FRAMING_HEAD,
		FRAMING_LENGTH, /* in a body of known length */
		FRAMING_CHUNK,  /* before a chunk's size */
		FRAMING_DATA,   /* in a chunk */
		FRAMING_ENDED,  /* after a fault */
	} state;
	uint64_t left;    /* bytes of the body or chunk that are still to come */
	bool first_chunk; /* no chunk's end comes before its size */
	uint8_t *held;    /* [given, ready) may go to the parser, [ready, size) is not looked at yet */
	size_t given, ready, size, room;
	size_t scanned;            /* of a head: how far its lines are known to be right */
	unsigned empty_lines;      /* before this head */
	struct rounds_error fault; /* kind ERROR_NONE: all is well */
};

/* As read(2): bytes, 0 at the end; anything negative is passed on as it is. */
typedef ssize_t framing_source(void *context, void *bytes, size_t room);

/* The next bytes for the parser; as its source where there are none. Without memory it is the end. */
ssize_t framing_read(struct framing *framing, framing_source *source, void *context, void *bytes, size_t room);

/* Bytes that are held: they would be looked at without asking the source. */
size_t framing_held(const struct framing *framing);

/* Whether a head has begun to arrive and is not whole. */
bool framing_in_head(const struct framing *framing);

void framing_clear(struct framing *framing);

#endif
