/* A header's names become columns, as the dataset's description says. */
#ifndef ROUNDS_CLIENT_TRAINERS_COLUMNS_H
#define ROUNDS_CLIENT_TRAINERS_COLUMNS_H

#include "client/tables/records.h"
#include "client/trainers/dataset.h"

/*
 * Fills header, header_count and columns. Errors: no column of the label's name; a name that is there twice (unless it is
 * ignored), or not at all; an `ignore` or `categories` that no column has, since a patient's number whose name is misspelt there
 * would become a feature.
 */
must_check int columns_read(
	const json_t *description, const struct record *header, struct dataset *dataset, struct rounds_error *error);
void columns_free(struct dataset_column *header, size_t count);

#endif
