#include "client/site/words.h"

#include "common/clock.h"
#include "common/hex.h"
#include "common/log.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>

enum { SPEECH_LINES = 300, SPEECH_SECONDS = 10 };

static void log_lines(const char *ref, const char *kind, const char *words)
{
	const char *end;

	for (; *words; words = *end ? end + 1 : end) {
		scoped(text_free) char *line = NULL;

		end = words + strcspn(words, "\r\n");
		line = end > words ? text_new_repaired(words, (size_t)(end - words)) : NULL;
		if (line)
			log_warn("what went wrong", "ref", ref, "kind", kind, "says", line, NULL);
	}
}

/* The end tells more than the beginning: an exception's name is the last line of its traceback. */
static const char *last_part(const char *words, size_t limit)
{
	size_t size = strlen(words);
	const char *from = size > limit ? words + size - limit : words;

	while (from > words && ((unsigned char)*from & 0xc0) == 0x80)
		from++;
	return from;
}

int failed_with(struct failure *failure, enum failure_kind kind, bool retry, const char *words)
{
	scoped(text_free) char *whole = text_new_repaired(words, strlen(words));

	failure->kind = kind;
	failure->retry = retry;
	hex_random(world_real(), 4, failure->ref);
	log_lines(failure->ref, failure_name(kind), whole ? whole : "");
	failure_set_text(failure, last_part(whole ? whole : "", sizeof(failure->text) - 1));
	return -1;
}

int failed_by(struct failure *failure, enum failure_kind kind, bool retry, const struct rounds_error *error)
{
	static const struct {
		enum error_kind error;
		enum failure_kind kind;
	} own[] = { { ERROR_NO_SPACE, FAILURE_NO_SPACE }, { ERROR_NO_MEMORY, FAILURE_NO_MEMORY } };

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (error->kind == own[i].error)
			kind = own[i].kind;
	return failed_with(failure, kind, retry, error->message);
}

void speech_end(struct speech *speech)
{
	char count[24];

	if (speech->lines > SPEECH_LINES) {
		snprintf(count, sizeof(count), "%zu", speech->lines - SPEECH_LINES);
		log_warn("an executor says too much; lines are left out", "lines", count, NULL);
	}
	speech->lines = 0;
}

void speech_log(struct speech *speech, const char *line)
{
	int64_t now = clock_steady_us();

	if (now - speech->began_us > SPEECH_SECONDS * SECOND_US) {
		speech_end(speech);
		speech->began_us = now;
	}
	if (++speech->lines <= SPEECH_LINES)
		log_info("executor", "says", line, NULL);
}
