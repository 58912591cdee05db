/* A table of rows dealt to sites, for simulations. */
#ifndef ROUNDS_CLIENT_CLI_SPLIT_H
#define ROUNDS_CLIENT_CLI_SPLIT_H

#include "common/error.h"

#include <jansson.h>
#include <stdint.h>

/*
 * Deals the rows of the CSV file `table`, which `dataset` (settings as in site.json) says how to read, to files
 * `folder`/SITE.csv, each with the table's header, in UTF-8 with commas, by the seed:
 *
 *     "even"             shuffled, then as many to each as can be
 *     "dirichlet:ALPHA"  of every value of the column `label`, shares drawn from Dirichlet(ALPHA): the smaller, the less alike
 *                        (Hsu et al. 2019). Drawn again until each site has a row
 *     "column:NAME"      a site for each value of that column, named by it; `count` does not matter
 *
 * *sites is the names in order, "site-1" and so on: a new reference.
 */
must_check int split_table(const char *table, const json_t *dataset, const char *folder, size_t count,
	const char *how, const char *label, uint64_t seed, json_t **sites, struct rounds_error *error);

#endif
