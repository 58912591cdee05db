#include "client/cli/cli.h"

#include "common/json.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>

/*
 * Bytes of a sign that a terminal would obey or that nobody would see, 0 if there is none here: controls, signs without a width,
 * and those that turn the direction of what follows (U+200B to 200F, 202A to 202E, 2060 to 2069, FEFF).
 */
static size_t unsafe(const unsigned char *c)
{
	if (*c < 0x20 || *c == 0x7f)
		return 1;
	if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
		return 2;
	if (c[0] == 0xe2 && c[1] == 0x80)
		return (c[2] >= 0x8b && c[2] <= 0x8f) || (c[2] >= 0xaa && c[2] <= 0xae) ? 3 : 0;
	if (c[0] == 0xe2 && c[1] == 0x81)
		return c[2] >= 0xa0 && c[2] <= 0xa9 ? 3 : 0;
	return c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf ? 3 : 0;
}

/* Such signs are shown as '?': names come from other people. */
static void make_safe(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++)
		memset(c, '?', unsafe(c));
}

char *value_text(const json_t *value)
{
	char *text = NULL;

	if (!value || json_is_null(value))
		return strdup("-");
	if (json_is_string(value))
		text = strdup(json_string_value(value));
	else if (json_is_boolean(value))
		text = strdup(json_is_true(value) ? "yes" : "no");
	else if (json_is_real(value))
		text = text_new("%.6g", json_real_value(value));
	else
		text = json_canonical(value);
	if (text)
		make_safe(text);
	return text;
}

/* Characters, not bytes: what the terminal shows of UTF-8. */
static int width_of(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void print_padded(const char *text, int width, bool last)
{
	printf("%s%*s", text, last ? 0 : width - width_of(text) + 2, "");
}

void print_table(const json_t *rows, const struct column *columns)
{
	int widths[24] = { 0 };
	size_t i;
	json_t *row;

	if (!json_array_size(rows)) {
		puts("(none)");
		return;
	}
	for (int c = 0; columns[c].title; c++) {
		widths[c] = width_of(columns[c].title);
		json_array_foreach (rows, i, row) {
			scoped(text_free) char *text = value_text(json_object_get(row, columns[c].key));

			if (text && width_of(text) > widths[c])
				widths[c] = width_of(text);
		}
		print_padded(columns[c].title, widths[c], !columns[c + 1].title);
	}
	putchar('\n');
	json_array_foreach (rows, i, row) {
		for (int c = 0; columns[c].title; c++) {
			scoped(text_free) char *text = value_text(json_object_get(row, columns[c].key));

			print_padded(text ? text : "", widths[c], !columns[c + 1].title);
		}
		putchar('\n');
	}
}

void print_object(const json_t *object, const struct column *fields)
{
	for (; fields->title; fields++) {
		scoped(text_free) char *text = value_text(json_object_get(object, fields->key));

		if (text && strcmp(text, "-") != 0)
			printf("%-14s %s\n", fields->title, text);
	}
}

void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2));
	putchar('\n');
}

int show_table(const struct cli *cli, const json_t *rows, const struct column *columns)
{
	if (cli->json)
		print_json(rows);
	else
		print_table(rows, columns);
	return EXIT_DONE;
}

int show_object(const struct cli *cli, const json_t *object, const struct column *fields)
{
	if (cli->json)
		print_json(object);
	else
		print_object(object, fields);
	return EXIT_DONE;
}
