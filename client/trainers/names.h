/*
 * What a feature is called where its name leaves the site, as in tensors of statistics and in Cox's list of covariates:
 *
 *     age              a column of numbers
 *     grade=II         a value of a category that the job lists (trainer.categories), or a class that it does (trainer.classes)
 *     grade=#1a2b3c4d  one that it does not list
 *
 * Values are cells of patients, so one that the job does not know travels as the first 8 hexadecimal digits of SHA-256 over the
 * column's name, a zero byte and the value: the same at all sites, another one in another column. Whoever can guess the value can
 * check the guess.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_NAMES_H
#define ROUNDS_CLIENT_TRAINERS_NAMES_H

#include "common/error.h"

#include <jansson.h>

/* Appends to `names` that of a column of numbers. */
must_check int names_add_column(json_t *names, const char *column, struct rounds_error *error);

/*
 * Appends to `names` that of each of the column's values, in their order; `listed` are those that the job lists, NULL: none. Two
 * values of one name are FAILURE_CATEGORY.
 */
must_check int names_add_values(
	json_t *names, const char *column, const json_t *values, const json_t *listed, struct rounds_error *error);

#endif
