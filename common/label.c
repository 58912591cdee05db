#include "common/label.h"

#include "common/error.h"
#include "common/text.h"

#include <locale.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

/* Characters that take no room and belong to no letter: directions, joiners, tags (Unicode, category Cf). */
static const struct {
	uint32_t first, last;
} formats[] = {
	{ 0x61c, 0x61c },
	{ 0x180e, 0x180e },
	{ 0x200b, 0x200f },
	{ 0x202a, 0x202e },
	{ 0x2060, 0x206f },
	{ 0xfeff, 0xfeff },
	{ 0xfff9, 0xfffb },
	{ 0x13430, 0x1343f },
	{ 0x1bca0, 0x1bca3 },
	{ 0x1d173, 0x1d17a },
	{ 0xe0000, 0xe007f },
};

static locale_t characters;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find_characters(void)
{
	characters = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static bool is_format(uint32_t character)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (character >= formats[i].first && character <= formats[i].last)
			return true;
	return false;
}

/* A letter, a digit, or a mark upon one, which has no width of its own. In the locale of `characters`. */
static bool is_part_of_a_word(uint32_t character)
{
	return iswalnum((wint_t)character) ||
	       (character >= 0x300 && wcwidth((wchar_t)character) == 0 && !is_format(character));
}

/* The character that begins here, in text that is UTF-8; *text is then behind it. */
static uint32_t next_character(const char **text)
{
	const unsigned char *c = (const unsigned char *)*text;
	int more = *c < 0x80 ? 0 : *c < 0xe0 ? 1 : *c < 0xf0 ? 2 : 3;
	uint32_t character = more ? *c & (0x3fu >> more) : *c;

	for (int i = 1; i <= more; i++)
		character = character << 6 | (c[i] & 0x3f);
	*text += more + 1;
	return character;
}

static bool all_allowed(const char *text)
{
	size_t count = 0;

	while (*text) {
		uint32_t character = next_character(&text);
		bool sign = character < 0x80 && strchr("_./-()@", (int)character);

		if (++count > LABEL_CHARACTERS || (!sign && !is_part_of_a_word(character)))
			return false;
	}
	return count > 0;
}

bool label_is_valid(const char *text)
{
	size_t size = strlen(text);
	locale_t before;
	bool valid;

	pthread_once(&once, find_characters);
	if (!characters || size > LABEL_BYTES || !text_is_utf8(text, size))
		return false;
	before = uselocale(characters);
	valid = all_allowed(text);
	uselocale(before);
	return valid;
}
