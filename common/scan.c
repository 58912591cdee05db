#include "common/scan.h"

#include "common/text.h"

#include <string.h>

int scan_fail(const struct scan *scan, const char *what, struct rounds_error *error)
{
	return error_set(
		error, ERROR_INVALID, "not valid JSON: byte %zu: %s", (size_t)(scan->at - scan->begin), what);
}

char scan_peek(struct scan *scan)
{
	while (scan->at < scan->end && strchr(" \t\r\n", *scan->at) && *scan->at)
		scan->at++;
	return scan->at < scan->end ? *scan->at : '\0';
}

bool scan_take(struct scan *scan, char character)
{
	if (scan_peek(scan) != character || scan->at == scan->end)
		return false;
	scan->at++;
	return true;
}

int scan_expect(struct scan *scan, char character, struct rounds_error *error)
{
	char what[] = "' ' expected";

	if (scan_take(scan, character))
		return 0;
	what[1] = character;
	return scan_fail(scan, what, error);
}

bool scan_size(struct scan *scan, uint64_t *number)
{
	char first = scan_peek(scan);
	const char *begin = scan->at;

	if (first < '0' || first > '9')
		return false;
	*number = 0;
	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
		if (__builtin_mul_overflow(*number, 10, number) ||
			__builtin_add_overflow(*number, (uint64_t)(*scan->at - '0'), number) || *number > INT64_MAX)
			return false;
		scan->at++;
	}
	if (first == '0' && scan->at - begin > 1)
		return false;
	return scan->at == scan->end || !*scan->at || !strchr(".eE", *scan->at);
}

/* Four hexadecimal digits; -1 if they are something else. */
static int32_t code_unit(struct scan *scan)
{
	int32_t unit = 0;

	for (int i = 0; i < 4; i++) {
		char digit = scan->at < scan->end ? *scan->at++ : '\0';

		if (digit >= '0' && digit <= '9')
			unit = unit * 16 + digit - '0';
		else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
			unit = unit * 16 + (digit | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return unit;
}

/* UTF-8 of at most as many bytes as the escape has; returns where it ends. */
static char *put_character(char *to, uint32_t code)
{
	if (code < 0x80) {
		*to++ = (char)code;
		return to;
	}
	if (code < 0x800) {
		*to++ = (char)(0xc0 | code >> 6);
	} else {
		if (code < 0x10000) {
			*to++ = (char)(0xe0 | code >> 12);
		} else {
			*to++ = (char)(0xf0 | code >> 18);
			*to++ = (char)(0x80 | (code >> 12 & 0x3f));
		}
		*to++ = (char)(0x80 | (code >> 6 & 0x3f));
	}
	*to++ = (char)(0x80 | (code & 0x3f));
	return to;
}

/* Behind \u: one unit, or two surrogates. 0 is no character of a text here. */
static uint32_t escaped_character(struct scan *scan)
{
	int32_t high = code_unit(scan), low;

	if (high < 0xd800 || high > 0xdfff)
		return high > 0 ? (uint32_t)high : 0;
	if (high > 0xdbff || scan->end - scan->at < 2 || scan->at[0] != '\\' || scan->at[1] != 'u')
		return 0;
	scan->at += 2;
	low = code_unit(scan);
	return low < 0xdc00 || low > 0xdfff ? 0
					    : 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
}

static int take_escape(struct scan *scan, char **to, struct rounds_error *error)
{
	static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	char name = scan->at < scan->end ? *scan->at++ : '\0';
	const char *found = name ? strchr(names, name) : NULL;
	uint32_t code;

	if (found) {
		*(*to)++ = meanings[found - names];
		return 0;
	}
	code = name == 'u' ? escaped_character(scan) : 0;
	if (!code)
		return scan_fail(scan, "invalid escape", error);
	*to = put_character(*to, code);
	return 0;
}

int scan_text(struct scan *scan, const char **text, struct rounds_error *error)
{
	char *to = scan->room;

	if (scan_expect(scan, '"', error))
		return -1;
	while (scan->at < scan->end && *scan->at != '"') {
		char character = *scan->at++;

		if ((unsigned char)character < 0x20)
			return scan_fail(scan, "a control character in a text", error);
		if (character != '\\')
			*to++ = character;
		else if (take_escape(scan, &to, error))
			return -1;
	}
	if (scan->at++ >= scan->end) {
		scan->at = scan->end;
		return scan_fail(scan, "a text does not end", error);
	}
	if (!text_is_utf8(scan->room, (size_t)(to - scan->room)))
		return scan_fail(scan, "text that is not UTF-8", error);
	*to++ = '\0';
	*text = scan->room;
	scan->room = to;
	return 0;
}
