#include "common/log.h"

#include "common/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum log_level threshold = LOG_INFO;
static bool as_json;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

struct line {
	char text[4096];
	size_t used;
};

void log_setup(enum log_level level, bool json)
{
	threshold = level;
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

static void put(struct line *line, char c)
{
	if (line->used < sizeof(line->text) - 2) /* room for the newline */
		line->text[line->used++] = c;
}

static void put_text(struct line *line, const char *text)
{
	while (*text)
		put(line, *text++);
}

static void put_quoted(struct line *line, const char *text)
{
	put(line, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			put(line, '\\');
			put(line, (char)c);
		} else if (c < 0x20 || c == 0x7f) {
			char escaped[8];

			snprintf(escaped, sizeof(escaped), "\\u%04x", c);
			put_text(line, escaped);
		} else {
			put(line, (char)c);
		}
	}
	put(line, '"');
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
	if (as_json) {
		if (line->used > 1)
			put(line, ',');
		put_quoted(line, key);
		put(line, ':');
		put_quoted(line, value);
		return;
	}
	if (line->used)
		put(line, ' ');
	put_text(line, key);
	put(line, '=');
	if (is_plain(value))
		put_text(line, value);
	else
		put_quoted(line, value);
}

void log_event(enum log_level level, const char *message, ...)
{
	struct line line = { .used = 0 };
	char time[TIME_TEXT_SIZE];
	va_list pairs;

	if (level < threshold)
		return;
	if (as_json)
		put(&line, '{');
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
		put(&line, '}');
	line.text[line.used++] = '\n';
	/* One write per line, so that lines of several threads do not mix; a full pipe loses the line. */
	if (write(STDERR_FILENO, line.text, line.used) < 0)
		return;
}
