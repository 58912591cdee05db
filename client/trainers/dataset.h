/*
 * A site's table in memory: features as they are in the file (missing ones are NaN), and what is to be predicted.
 *
 * CSV (client/tables/) has a header; columns of numbers are features, columns of text need their values named in the dataset's
 * `categories` and become one feature of 0 or 1 for each. cell.h says which cells are missing and which are numbers.
 * NPY (NumPy's format 1.0 and 2.0): a matrix of numbers, and a second file with the labels.
 *
 * Errors say role, row and column (failure.h) and hold nothing of a table but what site.json says of it.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_DATASET_H
#define ROUNDS_CLIENT_TRAINERS_DATASET_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What a column of a CSV file is. */
enum column_role {
	COLUMN_NUMBER,
	COLUMN_CATEGORY,
	COLUMN_LABEL,
	COLUMN_IGNORED, /* the dataset says so */
	COLUMN_INDEX,   /* the first, without a name: pandas' row numbers */
	COLUMN_EMPTY,   /* at the end, without a name or a value: a separator too many */
};

struct dataset_column {
	char *name;
	enum column_role role;
	const json_t *values; /* of a category: one feature each; borrowed from the description */
};

struct dataset {
	size_t rows, columns;
	float *features; /* rows x columns, row by row */
	json_t *names; /* of the features, as they may leave the site (names.h), once schema_align gave them; x0, x1... of a matrix */
	float *labels;       /* rows: a number, or the index of a class */
	size_t *origins;     /* rows: where each stands in the file, as failures count */
	size_t skipped;      /* rows without a label */
	const char *label;   /* the column's name; borrowed, NULL of a matrix */
	json_t *class_names; /* in the order of the indices; NULL: labels are numbers */
	char *schema;   /* in whose order columns and classes are (schema.h), as it goes into models; NULL: none */
	size_t classes; /* named in the dataset's description; 0: none */
	struct dataset_column *header; /* of a CSV file; NULL of a matrix */
	size_t header_count;
	json_t *format; /* of a CSV file, for people: {"encoding", "delimiter", "packed"} */
};

/* `description` is the dataset as the site's settings give it; it must live as long as the dataset. */
must_check int dataset_load(const json_t *description, struct dataset **dataset, struct rounds_error *error);
void dataset_free(struct dataset *dataset);
DEFINE_CLEANUP(struct dataset *, dataset_free);

/* Which of the features has that name; an error if none has. */
must_check int dataset_column(
	const struct dataset *dataset, const char *name, size_t *column, struct rounds_error *error);

/* csv.c, npy.c */
must_check int csv_load(const json_t *description, struct dataset *dataset, struct rounds_error *error);
must_check int npy_load(const json_t *description, struct dataset *dataset, struct rounds_error *error);

#endif
