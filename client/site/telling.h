/*
 * What the server is told of this site's tables, as each dataset's `describe` in site.json says. A table may take minutes to
 * read, so they are read once, beside everything else, by a thread that nobody has to wait for.
 */
#ifndef ROUNDS_CLIENT_SITE_TELLING_H
#define ROUNDS_CLIENT_SITE_TELLING_H

#include <jansson.h>
#include <stdbool.h>

struct telling;

/* Begins to read; NULL if there is nothing to tell, or no thread to do it. */
struct telling *telling_begin(const json_t *settings);

/* {dataset: {"columns", "label", "rows"}}, of the tables that have been read: a new reference; NULL if there is none. */
json_t *telling_told(struct telling *telling);

/* Whether tables are still being read, so that there soon may be more to tell. `telling` may be NULL. */
bool telling_goes_on(struct telling *telling);

/* Comes back at once; a table that is being read is read to its end for nobody. */
void telling_end(struct telling *telling);

#endif
