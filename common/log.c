#include "common/log.h"

#include "common/clock.h"
#include "common/text.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static atomic_int threshold = LOG_INFO;
static bool as_json;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

/* After the last of a value there is room for a quote, a brace and a newline. */
enum { END_ROOM = 4, QUOTED_SIZE = 8 };

struct line {
	char text[4096];
	size_t used;
};

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

void log_setup(enum log_level level, bool json)
{
	log_set_level(level);
	as_json = json;
}

bool log_level_parse(const char *name, enum log_level *level)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (!strcmp(level_names[i], name)) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/* All of it or nothing: a line that is full still ends with its quote, its brace and its newline. */
static bool put_bytes(struct line *line, const char *bytes, size_t size, size_t room)
{
	if (line->used + size + room > sizeof(line->text))
		return false;
	memcpy(line->text + line->used, bytes, size);
	line->used += size;
	return true;
}

static void put_text(struct line *line, const char *text)
{
	put_bytes(line, text, text_cut(text, strlen(text), sizeof(line->text) - END_ROOM - line->used), END_ROOM);
}

/* What one character of a quoted text is written as, and how many of its bytes that takes. */
static size_t quoted(const char *text, char *written)
{
	unsigned char c = (unsigned char)*text;
	size_t size = 1;

	if (c == '"' || c == '\\') {
		snprintf(written, QUOTED_SIZE, "\\%c", c);
	} else if (c < 0x20 || c == 0x7f) {
		snprintf(written, QUOTED_SIZE, "\\u%04x", c);
	} else {
		while (size < 4 && ((unsigned char)text[size] & 0xc0) == 0x80)
			size++;
		snprintf(written, QUOTED_SIZE, "%.*s", (int)size, text);
	}
	return size;
}

static void put_quoted(struct line *line, const char *text)
{
	char written[QUOTED_SIZE];

	put_bytes(line, "\"", 1, END_ROOM);
	while (*text) {
		text += quoted(text, written);
		if (!put_bytes(line, written, strlen(written), END_ROOM))
			break;
	}
	put_bytes(line, "\"", 1, 2);
}

static bool is_plain(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || strchr("\"=\\\x7f", *text))
			return false;
	return true;
}

static void put_pair(struct line *line, const char *key, const char *value)
{
	scoped(text_free) char *whole = text_new_repaired(value, strlen(value));

	/* A pair begins only where its key and a first character fit. */
	if (!whole || line->used + strlen(key) + 16 + END_ROOM > sizeof(line->text))
		return;
	if (as_json) {
		if (line->used > 1)
			put_bytes(line, ",", 1, END_ROOM);
		put_quoted(line, key);
		put_bytes(line, ":", 1, END_ROOM);
		put_quoted(line, whole);
		return;
	}
	if (line->used)
		put_bytes(line, " ", 1, END_ROOM);
	put_text(line, key);
	put_bytes(line, "=", 1, END_ROOM);
	if (is_plain(whole))
		put_text(line, whole);
	else
		put_quoted(line, whole);
}

void log_event(enum log_level level, const char *message, ...)
{
	struct line line = { .used = 0 };
	char time[TIME_TEXT_SIZE];
	va_list pairs;

	if ((int)level < atomic_load(&threshold))
		return;
	if (as_json)
		put_bytes(&line, "{", 1, END_ROOM);
	time_format(clock_wall_us(), time);
	put_pair(&line, "time", time);
	put_pair(&line, "level", level_names[level]);
	put_pair(&line, "msg", message);
	va_start(pairs, message);
	for (const char *key = va_arg(pairs, const char *); key; key = va_arg(pairs, const char *)) {
		const char *value = va_arg(pairs, const char *);

		if (value)
			put_pair(&line, key, value);
	}
	va_end(pairs);
	if (as_json)
		put_bytes(&line, "}", 1, 1);
	put_bytes(&line, "\n", 1, 0);
	/* One write per line, so that lines of several threads do not mix; a full pipe loses the line. */
	if (write(STDERR_FILENO, line.text, line.used) < 0)
		return;
}
