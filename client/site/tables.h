/*
 * What is in the tables of site.json. rounds-trainer reads them, in a process of its own (`rounds-trainer --describe`), so that
 * there is one reader, a bad table takes nothing with it and this daemon stays small.
 */
#ifndef ROUNDS_CLIENT_SITE_TABLES_H
#define ROUNDS_CLIENT_SITE_TABLES_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

/* Reads the dataset's table: *described is what client/trainers/describe.h shows, a new reference. It must not leave the site. */
must_check int table_describe(const json_t *dataset, json_t **described, struct rounds_error *error);

/*
 * What the server may be told of it, by the dataset's `describe`: nothing ("names"), "columns" and "label" ("columns"), or
 * "rows", too ("counts"): two digits of it, and none below `min_cell` and ten. A new reference.
 */
json_t *table_told(const json_t *dataset, const json_t *described);

/*
 * Opens every table and prints what is in it and what the server is told, for the administrator. False if a dataset that names
 * a label, so that jobs may train on it, cannot be read.
 */
bool tables_print(const json_t *settings);

#endif
