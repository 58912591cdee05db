/* What the text of one cell says. */
#ifndef ROUNDS_CLIENT_TRAINERS_CELL_H
#define ROUNDS_CLIENT_TRAINERS_CELL_H

#include <stdbool.h>

/* Empty, or one of the words with which databases and programs say that there is nothing. */
bool cell_is_missing(const char *text);

/*
 * A finite number in decimal notation, with an exponent or without. `decimal` is the sign before the fraction, '.' or ','; 0:
 * the administrator has not said, it is '.'. Digits may be grouped by threes with an apostrophe, a space (also one that does
 * not break) or the other sign; the other sign only where no doubt is left: `decimal` is said, there are two of it, or a
 * decimal sign follows. So 1,234 is no number until someone says which of the two it is.
 */
bool cell_number(const char *text, char decimal, float *number);

#endif
