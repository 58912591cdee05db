#include "server/http/framing.h"

#include "server/http/head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 4096, EMPTY_LINES = 2, DISCARD_LIMIT = 2 * 1024 * 1024 };

/* What came of looking at what is held and not ready. */
enum look {
	LOOK_MORE, /* not whole yet */
	LOOK_DONE, /* more is ready, or there is a fault with its substitute ready */
};

static void forget_given(struct framing *framing)
{
	if (framing->given < framing->ready)
		return;
	memmove(framing->held, framing->held + framing->given, framing->size - framing->given);
	framing->size -= framing->given;
	framing->given = framing->ready = framing->scanned = 0;
}

/* The parser gets `text` in place of everything that is not ready, and nothing after it. */
static enum look substitute(struct framing *framing, const char *text)
{
	size_t size = strlen(text);

	framing->state = FRAMING_ENDED;
	framing->size = framing->ready;
	if (framing->ready + size > framing->room)
		return LOOK_DONE; /* the connection then just ends; there is room for every text of this file */
	memcpy(framing->held + framing->ready, text, size);
	framing->ready = framing->size = framing->ready + size;
	return LOOK_DONE;
}

static enum look refuse_head(struct framing *framing)
{
	return substitute(framing, "GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n");
}

static enum look refuse_chunk(struct framing *framing, const char *what)
{
	error_set(&framing->fault, ERROR_INVALID, "the chunked body is not well-formed: %s", what);
	return substitute(framing, framing->first_chunk ? "0\r\n\r\n" : "\r\n0\r\n\r\n");
}

/* The empty line's end, or 0: not there yet; a fault if a byte of the lines before it has no business there. */
static size_t find_head_end(struct framing *framing)
{
	const uint8_t *text = framing->held + framing->ready;
	size_t size = framing->size - framing->ready;

	for (; framing->scanned + 1 < size; framing->scanned++) {
		size_t at = framing->scanned;

		if (!text[at])
			error_set(&framing->fault, ERROR_INVALID, "this is not well-formed HTTP/1.1: NUL");
		else if ((text[at] == '\r') != (text[at + 1] == '\n'))
			error_set(&framing->fault, ERROR_INVALID,
				"this is not well-formed HTTP/1.1: lines end with CR and LF");
		else if (text[at] == '\r' && at >= 2 && text[at - 1] == '\n')
			return at + 2;
		if (framing->fault.kind)
			return 0;
	}
	return 0;
}

/* A client may send an empty line or two after a body that it counted wrongly (RFC 9112, 2.2). */
static void skip_empty_lines(struct framing *framing)
{
	for (; framing->empty_lines < EMPTY_LINES && framing->scanned == 0; framing->empty_lines++) {
		if (framing->size - framing->ready < 2 || memcmp(framing->held + framing->ready, "\r\n", 2) != 0)
			return;
		memmove(framing->held + framing->ready, framing->held + framing->ready + 2,
			framing->size - framing->ready - 2);
		framing->size -= 2;
	}
}

static enum look look_at_head(struct framing *framing)
{
	struct head head;
	size_t end;

	skip_empty_lines(framing);
	if (framing->size > framing->ready && framing->held[framing->ready] == '\n')
		error_set(
			&framing->fault, ERROR_INVALID, "this is not well-formed HTTP/1.1: lines end with CR and LF");
	end = framing->fault.kind ? 0 : find_head_end(framing);
	if (!end && !framing->fault.kind && framing->size - framing->ready >= HEAD_LIMIT)
		error_set(&framing->fault, ERROR_HEAD_TOO_LARGE, "path and header fields may have at most %d bytes",
			HEAD_LIMIT);
	if (!end && !framing->fault.kind)
		return LOOK_MORE;
	if (framing->fault.kind ||
		head_read((const char *)framing->held + framing->ready, end - 2, &head, &framing->fault))
		return refuse_head(framing);
	framing->ready += end;
	framing->scanned = framing->empty_lines = 0;
	framing->left = head.length;
	framing->first_chunk = true;
	framing->state = head.chunked ? FRAMING_CHUNK : head.length ? FRAMING_LENGTH : FRAMING_HEAD;
	return LOOK_DONE;
}

/* The line at `at` ends before its CRLF; -1: it is not whole; -2: it has a byte that no line has. */
static ssize_t line_length(const uint8_t *at, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (at[i] == '\r')
			return i + 1 == size ? -1 : at[i + 1] == '\n' ? (ssize_t)i : -2;
		if (at[i] < ' ' ? at[i] != '\t' : at[i] == 0x7f)
			return -2;
	}
	return -1;
}

static int digit_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Hexadecimal digits, at most 15, and what follows them is nothing or an extension. */
static bool parse_chunk_size(const uint8_t *line, size_t length, uint64_t *size)
{
	size_t at = 0;

	for (*size = 0; at < length && at < 15 && digit_value(line[at]) >= 0; at++)
		*size = *size * 16 + (uint64_t)digit_value(line[at]);
	return at > 0 && (at == length || line[at] == ';' || line[at] == ' ' || line[at] == '\t');
}

/* After the last chunk: fields that nobody reads here, and an empty line. Where they end; 0: not yet; -1: wrong. */
static ssize_t skip_trailers(const uint8_t *text, size_t size, size_t at)
{
	for (;;) {
		ssize_t length = line_length(text + at, size - at);

		if (length < 0)
			return length == -1 ? 0 : -1;
		at += (size_t)length + 2;
		if (length == 0)
			return (ssize_t)at;
	}
}

/* What is ready of a chunk's framing, in as few bytes as it can be said: never more than there were. */
static enum look make_canonical(struct framing *framing, size_t used, uint64_t size)
{
	char text[40];
	int length = snprintf(text, sizeof(text), "%s%llx\r\n%s", framing->first_chunk ? "" : "\r\n",
		(unsigned long long)size, size ? "" : "\r\n");

	/* Nothing is ready before this: what was has been given. */
	framing->given = framing->ready + used - (size_t)length;
	memcpy(framing->held + framing->given, text, (size_t)length);
	framing->ready += used;
	framing->first_chunk = false;
	framing->left = size;
	framing->state = size ? FRAMING_DATA : FRAMING_HEAD;
	return LOOK_DONE;
}

static enum look look_at_chunk(struct framing *framing)
{
	const uint8_t *text = framing->held + framing->ready;
	size_t size = framing->size - framing->ready, at = framing->first_chunk ? 0 : 2;
	ssize_t length, end;
	uint64_t chunk;

	for (size_t i = 0; i < at && i < size; i++)
		if (text[i] != (uint8_t) "\r\n"[i])
			return refuse_chunk(framing, "a chunk is longer than it says");
	length = size > at ? line_length(text + at, size - at) : -1;
	if (length == -2 || (length >= 0 && !parse_chunk_size(text + at, (size_t)length, &chunk)))
		return refuse_chunk(framing, "a chunk begins with its size and CR LF");
	if (length < 0)
		return size < CHUNK_LINE_LIMIT ? LOOK_MORE
					       : refuse_chunk(framing, "a chunk's first line is too long");
	end = (ssize_t)at + length + 2;
	if (chunk == 0)
		end = skip_trailers(text, size, (size_t)end);
	if (end < 0)
		return refuse_chunk(framing, "a trailer field");
	if (end == 0)
		return size < CHUNK_LINE_LIMIT ? LOOK_MORE : refuse_chunk(framing, "the trailers are too long");
	return make_canonical(framing, (size_t)end, chunk);
}

static void end_body(struct framing *framing)
{
	if (framing->left == 0)
		framing->state = framing->state == FRAMING_DATA ? FRAMING_CHUNK : FRAMING_HEAD;
}

/* Of a body, what came along with its head. */
static enum look look_at_body(struct framing *framing)
{
	size_t more = framing->size - framing->ready;

	if (more > framing->left)
		more = (size_t)framing->left;
	framing->ready += more;
	framing->left -= more;
	end_body(framing);
	return LOOK_DONE;
}

static enum look look(struct framing *framing)
{
	if (framing->size == framing->ready)
		return LOOK_MORE;
	switch (framing->state) {
	case FRAMING_HEAD:
		return look_at_head(framing);
	case FRAMING_CHUNK:
		return look_at_chunk(framing);
	default:
		return look_at_body(framing);
	}
}

static bool make_room(struct framing *framing)
{
	size_t room = framing->room ? 2 * framing->room : FIRST_ROOM;
	uint8_t *held;

	if (framing->size < framing->room)
		return true;
	held = realloc(framing->held, room);
	if (!held)
		return false;
	framing->held = held;
	framing->room = room;
	return true;
}

/* Of what may go to the parser now, what fits. */
static size_t give(struct framing *framing, uint8_t *bytes, size_t room)
{
	size_t size = framing->ready - framing->given;

	if (size > room)
		size = room;
	memcpy(bytes, framing->held + framing->given, size);
	framing->given += size;
	if (framing->given == framing->size)
		framing_clear(framing); /* a connection that waits costs no buffer */
	return size;
}

/* What has been sent behind a fault: a socket that is closed over unread bytes takes the answer away from its reader. */
static void discard(framing_source *source, void *context)
{
	uint8_t bytes[16 * 1024];
	ssize_t got = 1;

	for (size_t all = 0; got > 0 && all < DISCARD_LIMIT; all += (size_t)got)
		got = source(context, bytes, sizeof(bytes));
}

static bool is_in_body(const struct framing *framing)
{
	return framing->state != FRAMING_HEAD && framing->state != FRAMING_ENDED;
}

/*
 * Gives what is ready, and what is held of the same request: the library makes more room for a body that comes later than
 * its head. A next request's head is not looked at before it is asked for, so that its faults are its own.
 */
static ssize_t give_request(struct framing *framing, uint8_t *bytes, size_t room)
{
	size_t given = give(framing, bytes, room);

	while (given < room && is_in_body(framing) && framing->size > framing->ready) {
		forget_given(framing);
		if (look(framing) == LOOK_MORE)
			break;
		given += give(framing, bytes + given, room - given);
	}
	return (ssize_t)given;
}

ssize_t framing_read(struct framing *framing, framing_source *source, void *context, void *bytes, size_t room)
{
	for (;;) {
		ssize_t got;

		if (framing->given < framing->ready)
			return give_request(framing, bytes, room);
		if (framing->state == FRAMING_ENDED)
			return 0;
		if (framing->left && framing->size == framing->given) {
			got = source(context, bytes, room < framing->left ? room : (size_t)framing->left);
			framing->left -= got > 0 ? (uint64_t)got : 0;
			end_body(framing);
			return got;
		}
		if (framing->held)
			forget_given(framing);
		if (look(framing) == LOOK_DONE) {
			if (framing->state == FRAMING_ENDED)
				discard(source, context);
			continue;
		}
		if (!make_room(framing))
			return 0;
		got = source(context, framing->held + framing->size, framing->room - framing->size);
		if (got <= 0)
			return got;
		framing->size += (size_t)got;
	}
}

size_t framing_held(const struct framing *framing)
{
	return framing->size - framing->given;
}

bool framing_in_head(const struct framing *framing)
{
	return framing->state == FRAMING_HEAD && framing->size > framing->given;
}

void framing_clear(struct framing *framing)
{
	free(framing->held);
	framing->held = NULL;
	framing->given = framing->ready = framing->size = framing->room = framing->scanned = 0;
}
