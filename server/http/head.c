#include "server/http/head.h"

#include "server/http/framing.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct span {
	const char *at;
	size_t size;
};

struct reading {
	bool old; /* HTTP/1.0 */
	unsigned fields, hosts, lengths, codings;
	struct head *head;
	struct rounds_error *error;
};

static int refuse(struct reading *reading, const char *what)
{
	return error_set(reading->error, ERROR_INVALID, "this is not well-formed HTTP/1.1: %s", what);
}

static bool is_token(struct span span)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < span.size; i++) {
		char c = span.at[i];

		if ((c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') &&
			(!c || !strchr(others, c)))
			return false;
	}
	return span.size > 0;
}

static bool is_word(struct span span, const char *word)
{
	return span.size == strlen(word) && !strncasecmp(span.at, word, span.size);
}

static size_t count(struct span span, char wanted)
{
	size_t found = 0;

	for (size_t i = 0; i < span.size; i++)
		found += span.at[i] == wanted;
	return found;
}

static int too_many(struct reading *reading, const char *what, int limit)
{
	return error_set(reading->error, ERROR_HEAD_TOO_LARGE, "a request may have at most %d %s", limit, what);
}

static int check_target(struct span target, struct reading *reading)
{
	for (size_t i = 0; i < target.size; i++)
		if (target.at[i] <= ' ' || target.at[i] == 0x7f) /* bytes above 127 are negative */
			return refuse(reading, "the path may hold printable ASCII alone; encode the rest with %");
	if (memmem(target.at, target.size, "%00", 3))
		return refuse(reading, "NUL in the path");
	if (count(target, '&') >= HEAD_ARGUMENTS)
		return too_many(reading, "arguments in its query", HEAD_ARGUMENTS);
	return target.size ? 0 : refuse(reading, "the path is missing");
}

static int check_request_line(struct span line, struct reading *reading)
{
	const char *first = memchr(line.at, ' ', line.size);
	const char *last = memrchr(line.at, ' ', line.size);
	struct span method, target, version;

	if (!first || first == last)
		return refuse(reading, "the first line is METHOD PATH HTTP/1.1");
	method = (struct span){ line.at, (size_t)(first - line.at) };
	target = (struct span){ first + 1, (size_t)(last - first - 1) };
	version = (struct span){ last + 1, (size_t)(line.at + line.size - last - 1) };
	if (!is_token(method) || method.size > 32)
		return refuse(reading, "the method is a word of at most 32 letters");
	reading->old = version.size == 8 && !memcmp(version.at, "HTTP/1.0", 8);
	if (!reading->old && (version.size != 8 || memcmp(version.at, "HTTP/1.1", 8) != 0))
		return refuse(reading, "the version must be HTTP/1.1 or HTTP/1.0");
	return check_target(target, reading);
}

static int take_host(struct span value, struct reading *reading)
{
	static const char others[] = ".-_:[]%";

	reading->hosts++;
	for (size_t i = 0; i < value.size; i++) {
		char c = value.at[i];

		if ((c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strchr(others, c))
			return refuse(reading, "Host is a name or an address, and a port");
	}
	return 0;
}

static int take_length(struct span value, struct reading *reading)
{
	enum { DIGITS = 18 }; /* an exabyte less one: no sum of it overflows */

	reading->lengths++;
	reading->head->length = 0;
	if (!value.size || value.size > DIGITS)
		return refuse(reading, "Content-Length is a number of at most 18 digits");
	for (size_t i = 0; i < value.size; i++) {
		if (value.at[i] < '0' || value.at[i] > '9')
			return refuse(reading, "Content-Length is one number of digits alone");
		reading->head->length = reading->head->length * 10 + (uint64_t)(value.at[i] - '0');
	}
	return 0;
}

static int take_coding(struct span value, struct reading *reading)
{
	reading->codings++;
	reading->head->chunked = true;
	return is_word(value, "chunked") ? 0 : refuse(reading, "the only Transfer-Encoding here is chunked");
}

static int take_cookie(struct span value, struct reading *reading)
{
	return count(value, ';') >= HEAD_COOKIES ? too_many(reading, "cookies", HEAD_COOKIES) : 0;
}

/* The fields that matter here. */
static const struct {
	const char *name;
	int (*take)(struct span value, struct reading *reading);
} taken[] = {
	{ "Host", take_host },
	{ "Content-Length", take_length },
	{ "Transfer-Encoding", take_coding },
	{ "Cookie", take_cookie },
};

static struct span trim(struct span span)
{
	while (span.size && (*span.at == ' ' || *span.at == '\t')) {
		span.at++;
		span.size--;
	}
	while (span.size && (span.at[span.size - 1] == ' ' || span.at[span.size - 1] == '\t'))
		span.size--;
	return span;
}

static int check_field(struct span line, struct reading *reading)
{
	const char *colon = memchr(line.at, ':', line.size);
	struct span name, value;

	if (++reading->fields > HEAD_FIELDS)
		return too_many(reading, "header fields", HEAD_FIELDS);
	name = (struct span){ line.at, colon ? (size_t)(colon - line.at) : 0 };
	/* A line that goes on from the one before begins with a space: no name either. */
	if (!is_token(name))
		return refuse(reading, "a header field is a name, a colon without a space before it, and a value");
	value = trim((struct span){ colon + 1, line.size - name.size - 1 });
	for (size_t i = 0; i < value.size; i++)
		if ((unsigned char)value.at[i] < ' ' ? value.at[i] != '\t' : value.at[i] == 0x7f)
			return refuse(reading, "a control character in a header field");
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		if (is_word(name, taken[i].name))
			return taken[i].take(value, reading);
	return 0;
}

static int check_together(struct reading *reading)
{
	if (reading->hosts > 1 || (!reading->hosts && !reading->old))
		return refuse(reading, "exactly one Host is needed");
	if (reading->lengths > 1)
		return refuse(reading, "Content-Length more than once");
	if (reading->codings > 1)
		return refuse(reading, "Transfer-Encoding more than once");
	if (reading->codings && reading->lengths)
		return refuse(reading, "both Content-Length and Transfer-Encoding");
	if (reading->codings && reading->old)
		return refuse(reading, "HTTP/1.0 has no Transfer-Encoding");
	return 0;
}

int head_read(const char *text, size_t size, struct head *head, struct rounds_error *error)
{
	struct reading reading = { .head = head, .error = error };
	const char *end = text + size;

	*head = (struct head){ 0 };
	for (const char *at = text; at < end;) {
		const char *cr = memchr(at, '\r', (size_t)(end - at));
		struct span line = { at, (size_t)(cr - at) };

		if (at == text ? check_request_line(line, &reading) : check_field(line, &reading))
			return -1;
		at = cr + 2;
	}
	return check_together(&reading);
}
