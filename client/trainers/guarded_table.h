/*
 * A site's table as the workflow `statistics` may tell of it: which columns, which pairs of them, and of which rows. What is
 * not told and why follows from small_cells.h:
 *
 *     gaps      Fewer than `least` rows without a value would be told by the column's count. All rows with such a gap, and if these
 *               are fewer than `least` some more, count as missing in every column that has such gaps.
 *     columns   by the shape of each, and by an audit (audit.h) of those that tell who is in a group: indicators, columns of few
 *               values, and who has a value at all. So if one of a category's values is rare, another is kept back with it.
 *     pairs     the sum of one column over the rows that have another, or another's value, is judged like a column; what is
 *               kept back there is not told by difference from the other values either.
 *
 * With `least` 1 everything is told. The columns are the features, then the label, or each of its classes as 0 or 1.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_GUARDED_TABLE_H
#define ROUNDS_CLIENT_TRAINERS_GUARDED_TABLE_H

#include "client/trainers/small_cells.h"

#include <stdint.h>

struct guarded_column {
	bool gappy;      /* its gaps are the rows that are left out */
	bool told;       /* count, sum, squares, deviations */
	bool cells_told; /* a histogram, of merged cells; also where single outliers keep the sums from being told */
	struct column_shape shape;
	/* Only where there is a guard: */
	double *values;  /* the different ones, ascending */
	uint32_t *codes; /* rows: the value's place in `values` and 1 more; 0: missing */
};

struct guarded_table {
	const struct dataset *data;
	size_t least, count;
	struct guarded_column *columns; /* count */
	bool *left_out;                 /* rows, for columns that are gappy */
	bool *pairs;                    /* count x count: may be told together; NULL before guarded_table_relate */
};

/* A value as far as it may be told of: NaN if it is missing or left out. */
double guarded_value(const struct guarded_table *table, size_t row, size_t column);

/* `table` holds nothing after an error. */
must_check int guarded_table_make(
	const struct dataset *data, size_t least, struct guarded_table *table, struct rounds_error *error);
/* Judges the pairs: takes columns^2 * rows steps, columns^3 * rows where most are indicators. */
must_check int guarded_table_relate(struct guarded_table *table, struct rounds_error *error);
void guarded_table_free(struct guarded_table table);

#endif
