/*
 * What a model says of the table that it is trained on, so that sites agree before they train: in another order at one site,
 * columns or classes would ruin the model without a word.
 *
 *     __metadata__["rounds.schema"] = {"features": ["age", "sex"], "categories": {"sex": "sha256:..."}, "label": "died",
 *                                      "classes": ["no", "yes"]}
 *
 * The site that makes the model writes it, in canonical JSON; who trains the model hands it on as it is. Values of categories and
 * classes are cells of the table: they stand there only if the job lists them (trainer.categories, trainer.classes), else the
 * digest of their JSON array does, of categories sorted, since their order means nothing. Whoever can guess the values can
 * check the guess.
 *
 * Features are left out where the layer that takes them is not shared (the job's `share`), label and classes where the one that
 * gives them is not. Arrays have no names, so there is no schema; nor in statistics, whose tensors have names of their own (names.h).
 */
#ifndef ROUNDS_CLIENT_TRAINERS_SCHEMA_H
#define ROUNDS_CLIENT_TRAINERS_SCHEMA_H

#include "client/trainers/dataset.h"

/* What the model at `path` says: *schema is a new reference, NULL if it says nothing. */
must_check int schema_of_model(const char *path, json_t **schema, struct rounds_error *error);

/* What a model that is made here for this task will say: *schema is a new reference, NULL if there is nothing to say. */
must_check int schema_of_dataset(const struct dataset *dataset, const json_t *task, const json_t *params,
	json_t **schema, struct rounds_error *error);

/*
 * Brings columns, values of categories and classes into the schema's order, by name, drops what the job ignores, and gives the
 * features the names that may leave the site (names.h); `schema` NULL: in the order of the table. A site may lack values that the schema lists. All else that differs is FAILURE_SCHEMA,
 * with the role "features", "categories" (column: which of the schema's features), "path" (column: which of the table's),
 * "label" or "classes". Once for each dataset.
 */
must_check int schema_align(
	const json_t *schema, const json_t *params, struct dataset *dataset, struct rounds_error *error);

/*
 * Which of the columns that the job names (trainer.ignore, trainer.categories) the table has none of, in the job's words:
 * {"ignore": [name], "categories": [name]}, a new reference; NULL if the job names none. A column that site.json ignores is there.
 */
json_t *schema_lacks(const struct dataset *dataset, const json_t *params);

#endif
