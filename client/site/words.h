/*
 * What programs say at this site stays in this site's log. A failure carries a reference to it, and a copy of the words for
 * whoever may tell them (delivery.c knows who may).
 */
#ifndef ROUNDS_CLIENT_SITE_WORDS_H
#define ROUNDS_CLIENT_SITE_WORDS_H

#include "common/failure.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Makes *failure of that kind: its words go to the log, line by line under a new reference, and its text is their end. What
 * *failure says of a place stays. Returns -1, so that a caller can write `return failed_with(...)`.
 */
int failed_with(struct failure *failure, enum failure_kind kind, bool retry, const char *words);

/* The same with the message of an error; a full disk and a want of memory are kinds of their own. */
int failed_by(struct failure *failure, enum failure_kind kind, bool retry, const struct rounds_error *error);

/* How much one program has logged lately: what is more than a few hundred lines in ten seconds is counted, not written. */
struct speech {
	int64_t began_us;
	size_t lines;
};
void speech_log(struct speech *speech, const char *line);
/* Says how much was left out, if anything was. */
void speech_end(struct speech *speech);

#endif
