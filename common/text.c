#include "common/text.h"

#include <stdio.h>
#include <string.h>

char *text_new_from(const char *format, va_list arguments)
{
	char *text;

	return vasprintf(&text, format, arguments) < 0 ? NULL : text;
}

char *text_new(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = text_new_from(format, arguments);
	va_end(arguments);
	return text;
}

char *text_percent(const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	char *made = malloc(3 * strlen(text) + 1), *to = made;

	for (const unsigned char *c = (const unsigned char *)text; made && *c; c++) {
		if (((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z') || (*c >= '0' && *c <= '9') || strchr("-._~", *c)) {
			*to++ = (char)*c;
			continue;
		}
		*to++ = '%';
		*to++ = digits[*c >> 4];
		*to++ = digits[*c & 15];
	}
	if (made)
		*to = '\0';
	return made;
}

/* Bytes of the character that begins here, of at most `size`; 0 if none does. */
static size_t character(const unsigned char *at, size_t size)
{
	static const struct {
		unsigned char first, last, second_least, second_most;
		size_t length;
	} forms[] = {
		{ 0x00, 0x7f, 0, 0, 1 },
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		size_t length = forms[i].length;

		if (*at < forms[i].first || *at > forms[i].last)
			continue;
		if (length > size || (length > 1 && (at[1] < forms[i].second_least || at[1] > forms[i].second_most)))
			return 0;
		for (size_t next = 2; next < length; next++)
			if ((at[next] & 0xc0) != 0x80)
				return 0;
		return length;
	}
	return 0;
}

bool text_is_utf8(const char *text, size_t size)
{
	for (size_t at = 0, length; at < size; at += length) {
		length = character((const unsigned char *)text + at, size - at);
		if (length == 0)
			return false;
	}
	return true;
}

size_t text_cut(const char *text, size_t size, size_t limit)
{
	size_t end = limit;

	if (size <= limit)
		return size;
	while (end > 0 && limit - end < 3 && ((unsigned char)text[end] & 0xc0) == 0x80)
		end--;
	return end;
}

/* Where a character begins that the end cuts; `size` if none is cut. */
static size_t whole(const char *text, size_t size)
{
	for (size_t back = 1; back <= 3 && back <= size; back++) {
		unsigned char byte = (unsigned char)text[size - back];
		size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;

		if (byte >= 0xc2 && byte <= 0xf4)
			return length > back ? size - back : size;
		if ((byte & 0xc0) != 0x80)
			break;
	}
	return size;
}

static size_t repair(char *text, size_t size)
{
	size_t end = whole(text, size);

	for (size_t at = 0; at < end;) {
		size_t length = character((const unsigned char *)text + at, end - at);

		if (length == 0)
			text[at] = '?';
		at += length ? length : 1;
	}
	return end;
}

char *text_repair(char *text)
{
	text[repair(text, strlen(text))] = '\0';
	return text;
}

char *text_new_repaired(const char *text, size_t size)
{
	char *copy = malloc(size + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, size);
	copy[repair(copy, size)] = '\0';
	return copy;
}

size_t text_distance(const char *a, const char *b)
{
	enum { LONGEST = 63 };
	size_t row[LONGEST + 1], rows = strnlen(a, LONGEST), columns = strnlen(b, LONGEST);

	for (size_t j = 0; j <= columns; j++)
		row[j] = j;
	for (size_t i = 1; i <= rows; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= columns; j++) {
			size_t least = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			least = row[j] + 1 < least ? row[j] + 1 : least;
			row[j] = row[j - 1] + 1 < least ? row[j - 1] + 1 : least;
		}
	}
	return row[columns];
}

void text_print_from(char *text, size_t size, const char *format, va_list arguments)
{
	if (vsnprintf(text, size, format, arguments) < 0)
		text[0] = '\0';
	text_repair(text);
}

void text_print(char *text, size_t size, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	text_print_from(text, size, format, arguments);
	va_end(arguments);
}
