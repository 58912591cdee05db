/*
 * What is in a site's table, for the people who look after it: never for anyone else, since it holds values.
 *
 *     {"rows": 120, "skipped": 2, "format": {"encoding": "UTF-8", "delimiter": ",", "packed": false},
 *      "columns": [{"name": "age", "kind": "number", "missing": 3, "least": 31, "greatest": 87, "mean": 58.1},
 *                  {"name": "sex", "kind": "category", "missing": 0, "values": {"f": 61, "m": 59}},
 *                  {"name": "patient", "kind": "ignored"}, {"name": "", "kind": "index"}],
 *      "label": {"name": "out", "kind": "classes", "missing": 2, "values": {"no": 80, "yes": 40}}}
 *
 * "missing" of the label counts the rows that are left out. A matrix has one entry of kind "matrix" with its "width", no format.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_DESCRIBE_H
#define ROUNDS_CLIENT_TRAINERS_DESCRIBE_H

#include "client/trainers/dataset.h"

/* A new reference; NULL without memory. `description` is what the dataset was loaded from. */
json_t *dataset_describe(const struct dataset *dataset, const json_t *description);

#endif
