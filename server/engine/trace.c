#include "server/engine/trace.h"

#include <stdio.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

bool trace_parse(const char *text, char trace[TRACE_SIZE])
{
	/* version "-" trace "-" parent "-" flags; later versions may go on after a "-" */
	if (strlen(text) < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-' || !strncmp(text, "ff", 2) ||
		(text[55] && (text[55] != '-' || !strncmp(text, "00", 2))))
		return false;
	if (strspn(text, digits) != 2 || strspn(text + 3, digits) != 32 || strspn(text + 36, digits) != 16 ||
		strspn(text + 53, digits) != 2 || strspn(text + 3, "0") >= 32 || strspn(text + 36, "0") >= 16)
		return false;
	memcpy(trace, text + 3, 32);
	trace[32] = '\0';
	return true;
}

/* The last `count` digits of a UUID. */
static void last_digits(const char *uuid, size_t count, char *out)
{
	out += count;
	*out = '\0';
	for (size_t i = strlen(uuid); i > 0 && count > 0; i--) {
		if (uuid[i - 1] == '-')
			continue;
		*--out = uuid[i - 1];
		count--;
	}
	while (count-- > 0)
		*--out = '0';
}

void trace_of_job(const char *job, char trace[TRACE_SIZE])
{
	last_digits(job, TRACE_SIZE - 1, trace);
}

void trace_of_task(const char *trace, const char *task, char traceparent[TRACEPARENT_SIZE])
{
	char span[17];

	last_digits(task, 16, span);
	snprintf(traceparent, TRACEPARENT_SIZE, "00-%.32s-%.16s-01", trace, span);
}
