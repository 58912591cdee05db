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
