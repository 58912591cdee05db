#include "client/trainers/cell.h"

#include "common/scope.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A number has fewer characters than this, or it is none. */
enum { PLAIN_SIZE = 128, GROUP = 3 };

bool cell_is_missing(const char *text)
{
	static const char *const words[] = { "", "?", ".", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "None",
		"none", "null", "NULL" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i]))
			return true;
	return false;
}

/* What may stand between groups of digits, besides the other decimal sign; all that does is one and the same. */
static const char *const spaces[] = { "'", "\u2019", " ", "\u00a0", "\u202f", "\u2009" };

/* The separator that stands here, or NULL. */
static const char *separator_at(const char *text, const char *other)
{
	if (*text == *other)
		return other;
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
		if (!strncmp(text, spaces[i], strlen(spaces[i])))
			return spaces[i];
	return NULL;
}

static size_t digits_at(const char *text)
{
	return strspn(text, "0123456789");
}

struct plain {
	char text[PLAIN_SIZE]; /* the number as strtof reads it */
	size_t size;
};

static bool put(struct plain *plain, const char *text, size_t size)
{
	if (plain->size + size >= sizeof(plain->text))
		return false;
	memcpy(plain->text + plain->size, text, size);
	plain->size += size;
	plain->text[plain->size] = '\0';
	return true;
}

/* The digits before the decimal sign, grouped or not; returns what follows, NULL if they are no number. */
static const char *take_whole(const char *text, char decimal, bool said, struct plain *plain)
{
	const char other[2] = { decimal == '.' ? ',' : '.', '\0' };
	size_t size = digits_at(text), groups = 0;
	const char *separator = size > 0 ? separator_at(text + size, other) : NULL;

	if (!put(plain, text, size))
		return NULL;
	text += size;
	/* Spaces may also just end the cell. */
	if (!separator || !isdigit((unsigned char)text[strlen(separator)]))
		return text;
	if (size > GROUP)
		return NULL;
	for (; !strncmp(text, separator, strlen(separator)); groups++) {
		text += strlen(separator);
		if (digits_at(text) != GROUP || !put(plain, text, GROUP))
			return NULL;
		text += GROUP;
	}
	return separator == other && !said && groups < 2 && *text != decimal ? NULL : text;
}

bool cell_number(const char *text, char decimal, float *number)
{
	struct plain plain = { .size = 0 };
	size_t whole, fraction = 0;
	bool said = decimal != 0;
	char *end;

	decimal = said ? decimal : '.';
	text += strspn(text, " ");
	if (*text == '+' || *text == '-')
		(void)put(&plain, text++, 1);
	whole = plain.size;
	text = take_whole(text, decimal, said, &plain);
	if (!text)
		return false;
	whole = plain.size - whole;
	if (*text == decimal) {
		fraction = digits_at(text + 1);
		if (!put(&plain, ".", 1) || !put(&plain, text + 1, fraction))
			return false;
		text += 1 + fraction;
	}
	if (whole + fraction == 0 || ((*text == 'e' || *text == 'E') && !put(&plain, text, strlen(text))))
		return false;
	if (*text != 'e' && *text != 'E' && text[strspn(text, " ")])
		return false;
	*number = strtof(plain.text, &end);
	return !end[strspn(end, " ")] && isfinite(*number);
}
