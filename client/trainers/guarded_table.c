#include "client/trainers/guarded_table.h"

#include "client/trainers/audit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A column with at most so many values, each of enough people, tells who is in a group, like an indicator. */
enum { FEW_VALUES = 16 };

static double raw(const struct dataset *data, size_t row, size_t column)
{
	if (column < data->columns)
		return (double)data->features[row * data->columns + column];
	if (data->classes == 0)
		return (double)data->labels[row];
	return data->labels[row] == (float)(column - data->columns) ? 1 : 0;
}

double guarded_value(const struct guarded_table *table, size_t row, size_t column)
{
	if (table->columns[column].gappy && table->left_out[row])
		return (double)NAN;
	return raw(table->data, row, column);
}

/* Columns with few gaps, and the rows that are left out for them. */
static void close_gaps(struct guarded_table *table)
{
	size_t left_out = 0;
	bool any = false;

	for (size_t i = 0; i < table->count; i++) {
		size_t missing = 0;

		for (size_t row = 0; row < table->data->rows; row++)
			missing += isnan(raw(table->data, row, i)) ? 1 : 0;
		table->columns[i].gappy = !cell_may_be_told(missing, table->least);
		any |= table->columns[i].gappy;
		for (size_t row = 0; table->columns[i].gappy && row < table->data->rows; row++)
			table->left_out[row] |= isnan(raw(table->data, row, i));
	}
	for (size_t row = 0; row < table->data->rows; row++)
		left_out += table->left_out[row];
	for (size_t row = 0; any && left_out < table->least && row < table->data->rows; row++)
		if (!table->left_out[row]) {
			table->left_out[row] = true;
			left_out++;
		}
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int judge(struct guarded_table *table, size_t index, struct rounds_error *error)
{
	struct guarded_column *column = &table->columns[index];
	size_t rows = table->data->rows, different;
	scoped(free) void *people = calloc(rows + 1, sizeof(size_t));

	column->values = calloc(rows + 1, sizeof(double));
	column->codes = calloc(rows + 1, sizeof(uint32_t));
	if (!people || !column->values || !column->codes)
		return error_no_memory(error);
	for (size_t row = 0; row < rows; row++)
		column->values[row] = guarded_value(table, row, index);
	different = cells_tally(column->values, rows, people);
	column->shape = cells_judge(column->values, people, different, table->least);
	for (size_t row = 0; row < rows; row++) {
		double value = guarded_value(table, row, index);
		const double *found = isnan(value)
					      ? NULL
					      : bsearch(&value, column->values, different, sizeof(double), by_number);

		column->codes[row] = found ? (uint32_t)(found - column->values) + 1 : 0;
	}
	column->told = column->shape.told;
	column->cells_told = column->shape.known >= table->least;
	return 0;
}

/* What an audit looks at, two vectors for each column: who has a value; and who has which, if these are few. */
static double vector_value(const void *context, size_t row, size_t vector)
{
	const struct guarded_table *table = context;
	const struct guarded_column *column = &table->columns[vector / 2];
	uint32_t code = column->codes[row];

	if (!column->told)
		return 0;
	if (vector % 2 == 0)
		return code > 0;
	if (code == 0 || (!column->shape.indicator && column->shape.values > FEW_VALUES))
		return 0;
	return column->values[code - 1] - column->shape.mode;
}

/* Columns that the audit refuses are taken from `admitted`. As many at once as can be: one look suffices where all are harmless. */
static void admit(struct audit *audit, const size_t *columns, size_t count, bool *admitted)
{
	scoped(free) void *room = calloc(2 * count + 1, sizeof(size_t));
	size_t *vectors = room;

	for (size_t i = 0; vectors && i < 2 * count; i++)
		vectors[i] = 2 * columns[i / 2] + i % 2;
	if (count == 0 || (vectors && audit_admit(audit, vectors, 2 * count)))
		return;
	if (count == 1) {
		admitted[columns[0]] = false;
		return;
	}
	admit(audit, columns, count / 2, admitted);
	admit(audit, columns + count / 2, count - count / 2, admitted);
}

static int audit_all(struct guarded_table *table, struct rounds_error *error)
{
	size_t rows = table->data->rows, count = 0;
	scoped(free) void *room = calloc(rows + table->count, sizeof(size_t)),
			  *verdicts = calloc(table->count, sizeof(bool));
	size_t *all = room, *asked = all + rows;
	bool *admitted = verdicts;
	struct audit *audit;

	if (!room || !verdicts)
		return error_no_memory(error);
	for (size_t row = 0; row < rows; row++)
		all[row] = row;
	audit = audit_new(all, rows, 2 * table->count, table->least, vector_value, table);
	if (!audit)
		return error_no_memory(error);
	for (size_t i = 0; i < table->count; i++) {
		admitted[i] = true;
		if (table->columns[i].told)
			asked[count++] = i;
	}
	admit(audit, asked, count, admitted);
	for (size_t i = 0; i < table->count; i++)
		if (!admitted[i])
			table->columns[i].told = table->columns[i].cells_told = false;
	audit_free(audit);
	return 0;
}

int guarded_table_make(
	const struct dataset *data, size_t least, struct guarded_table *table, struct rounds_error *error)
{
	int failed = 0;

	*table = (struct guarded_table){ .data = data, .least = least };
	table->count = data->columns + (data->classes ? data->classes : 1);
	table->columns = calloc(table->count, sizeof(*table->columns));
	table->left_out = calloc(data->rows + 1, sizeof(bool));
	if (!table->columns || !table->left_out)
		failed = error_no_memory(error);
	for (size_t i = 0; !failed && least == 1 && i < table->count; i++)
		table->columns[i].told = table->columns[i].cells_told = true;
	if (!failed && least > 1) {
		close_gaps(table);
		for (size_t i = 0; !failed && i < table->count; i++)
			failed = judge(table, i, error);
		failed = failed || audit_all(table, error);
	}
	if (!failed)
		return 0;
	guarded_table_free(*table);
	*table = (struct guarded_table){ 0 };
	return -1;
}

/* Some of the rows, which another column gives reason to sum over. */
struct side {
	struct guarded_table *table;
	size_t of; /* that column */
	size_t *rows, count;
	size_t *people; /* by a column's values */
	size_t *asked;  /* columns */
	bool *refused; /* count x count: a magnitude whose sum over such rows is dominated by one, or about too few */
};

/* Whether the sum of a column over these rows tells of enough people; gaps and those without one, too. */
static bool may_be_summed(struct side *side, size_t index)
{
	const struct guarded_column *column = &side->table->columns[index];
	struct column_shape shape;
	size_t known = 0;

	memset(side->people, 0, column->shape.values * sizeof(size_t));
	for (size_t i = 0; i < side->count; i++) {
		uint32_t code = column->codes[side->rows[i]];

		if (code > 0) {
			side->people[code - 1]++;
			known++;
		}
	}
	if (!cell_may_be_told(known, side->table->least) ||
		!cell_may_be_told(side->count - known, side->table->least))
		return false;
	shape = cells_judge(column->values, side->people, column->shape.values, side->table->least);
	return known == 0 || shape.told_once;
}

static int judge_side(struct side *side, struct rounds_error *error)
{
	struct guarded_table *table = side->table;
	struct audit *audit = audit_new(side->rows, side->count, 2 * table->count, table->least, vector_value, table);
	size_t count = 0;

	if (!audit)
		return error_no_memory(error);
	for (size_t j = 0; j < table->count; j++) {
		size_t at = side->of * table->count + j;
		bool summed;

		if (j == side->of || !table->columns[j].told || side->count == 0)
			continue;
		summed = may_be_summed(side, j);
		/* Of two values only the counts matter, and these are audited. */
		side->refused[at] |= !summed && table->columns[j].shape.values > 2;
		table->pairs[at] &= summed;
		if (table->pairs[at])
			side->asked[count++] = j;
	}
	admit(audit, side->asked, count, table->pairs + side->of * table->count);
	audit_free(audit);
	return 0;
}

enum part { MOST, OTHERS, KNOWN };

static void choose_rows(struct side *side, enum part part)
{
	const struct guarded_column *column = &side->table->columns[side->of];

	side->count = 0;
	for (size_t row = 0; row < side->table->data->rows; row++) {
		uint32_t code = column->codes[row];
		bool is_mode = code > 0 && column->values[code - 1] == column->shape.mode;

		if (code > 0 && (part == KNOWN || is_mode == (part == MOST)))
			side->rows[side->count++] = row;
	}
}

/* Whether one indicator says something for sure about the other: two values of one category, or one group inside another. */
static bool are_tied(const struct guarded_table *table, size_t i, size_t j)
{
	const struct guarded_column *a = &table->columns[i], *b = &table->columns[j];
	size_t cells[4] = { 0 };

	if (!a->shape.indicator || !b->shape.indicator)
		return false;
	for (size_t row = 0; row < table->data->rows; row++) {
		uint32_t x = a->codes[row], y = b->codes[row];

		if (x > 0 && y > 0)
			cells[2 * (a->values[x - 1] != a->shape.mode) + (b->values[y - 1] != b->shape.mode)]++;
	}
	return cells[0] == 0 || cells[1] == 0 || cells[2] == 0 || cells[3] == 0;
}

/* How many have neither value follows from the counts that are told. */
static bool enough_without(const struct guarded_table *table, size_t i, size_t j)
{
	size_t without = 0;

	for (size_t row = 0; row < table->data->rows; row++)
		without += table->columns[i].codes[row] == 0 && table->columns[j].codes[row] == 0;
	return cell_may_be_told(without, table->least);
}

/* What is kept back of one value of a category would be the difference of the whole and its other values. */
static void keep_back_differences(struct side *side)
{
	struct guarded_table *table = side->table;
	size_t n = table->count;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			if (i == k || !table->columns[i].told || !table->columns[k].told || !are_tied(table, i, k))
				continue;
			for (size_t j = 0; j < n; j++)
				if (side->refused[i * n + j])
					table->pairs[k * n + j] = false;
		}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++) {
			bool both = table->pairs[i * n + j] && table->pairs[j * n + i] && enough_without(table, i, j);

			table->pairs[i * n + j] = table->pairs[j * n + i] = both;
		}
}

int guarded_table_relate(struct guarded_table *table, struct rounds_error *error)
{
	size_t n = table->count, rows = table->data->rows;
	struct side side = { .table = table };
	int failed = 0;

	table->pairs = calloc(n * n, sizeof(bool));
	side.rows = calloc(rows + 1, sizeof(size_t));
	side.people = calloc(rows + 1, sizeof(size_t));
	side.asked = calloc(n, sizeof(size_t));
	side.refused = calloc(n * n, sizeof(bool));
	if (!table->pairs || !side.rows || !side.people || !side.asked || !side.refused)
		failed = error_no_memory(error);
	for (size_t at = 0; !failed && at < n * n; at++)
		table->pairs[at] = table->columns[at / n].told && table->columns[at % n].told;
	for (side.of = 0; !failed && table->least > 1 && side.of < n; side.of++) {
		bool indicator = table->columns[side.of].shape.indicator;

		if (!table->columns[side.of].told)
			continue;
		for (enum part part = indicator ? MOST : KNOWN; !failed && part <= (indicator ? OTHERS : KNOWN);
			part++) {
			choose_rows(&side, part);
			failed = judge_side(&side, error);
		}
	}
	if (!failed && table->least > 1)
		keep_back_differences(&side);
	free(side.rows);
	free(side.people);
	free(side.asked);
	free(side.refused);
	return failed;
}

void guarded_table_free(struct guarded_table table)
{
	for (size_t i = 0; table.columns && i < table.count; i++) {
		free(table.columns[i].values);
		free(table.columns[i].codes);
	}
	free(table.columns);
	free(table.left_out);
	free(table.pairs);
}
