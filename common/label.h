/* Names that a program at a site makes up: of metrics and of stages. They are shown to people, so they can carry no sentence. */
#ifndef ROUNDS_COMMON_LABEL_H
#define ROUNDS_COMMON_LABEL_H

#include <stdbool.h>

enum { LABEL_CHARACTERS = 63, LABEL_BYTES = 4 * LABEL_CHARACTERS };

/* What a label must be, for people: fits behind "a metric's name". */
#define LABEL_RULE "has 1 to 63 letters, digits and _ . / - ( ) @, and no spaces"

/* 1 to 63 characters, each a letter or a digit of any script (with the marks that belong to it), or one of _ . / - ( ) @. */
bool label_is_valid(const char *text);

#endif
