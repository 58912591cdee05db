#include "client/cli/split.h"

#include "client/tables/records.h"
#include "common/fields.h"
#include "common/file.h"
#include "common/json.h"
#include "common/random.h"
#include "common/text.h"

#include <csv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWS = 1000 };

/* The table in memory: a JSON array of rows, each an array of text; the first is the header. */
static int read_table(const char *path, const json_t *dataset, json_t **rows, struct rounds_error *error)
{
	scoped(records_free) struct records *records = NULL;
	struct record record = { .count = 1 };

	*rows = json_array();
	if (records_open(path, json_text_or(dataset, "encoding", NULL), json_text_or(dataset, "delimiter", NULL),
		    &records, error))
		return -1;
	while (record.count > 0) {
		json_t *row = json_array();

		if (records_next(records, &record, error))
			return error_prefix(error, "%s, row %lld, field %lld", path, (long long)error->row,
				(long long)error->column);
		for (size_t i = 0; i < record.count; i++)
			json_array_append_new(row, json_string(record.fields[i]));
		if (json_array_append_new(*rows, row))
			return error_no_memory(error);
	}
	json_array_remove(*rows, json_array_size(*rows) - 1); /* what said the end */
	if (json_array_size(*rows) < 2)
		return error_set(error, ERROR_INVALID, "%s has no rows", path);
	return 0;
}

static int find_column(const json_t *rows, const char *name, size_t *column, struct rounds_error *error)
{
	const json_t *header = json_array_get(rows, 0);

	for (*column = 0; *column < json_array_size(header); (*column)++)
		if (name && !strcmp(json_string_value(json_array_get(header, *column)), name))
			return 0;
	return error_set(error, ERROR_INVALID, "the table has no column \"%.80s\"", name ? name : "");
}

static const char *cell(const json_t *rows, size_t row, size_t column)
{
	const char *text = json_string_value(json_array_get(json_array_get(rows, row), column));

	return text ? text : "";
}

/* Rows by the value of a column: {value: [row]}, values as they come. */
static json_t *group_by(const json_t *rows, size_t column)
{
	json_t *groups = json_object();

	for (size_t row = 1; row < json_array_size(rows); row++) {
		const char *value = cell(rows, row, column);

		if (!json_object_get(groups, value))
			json_object_set_new(groups, value, json_array());
		json_array_append_new(json_object_get(groups, value), json_integer((json_int_t)row));
	}
	return groups;
}

/* Normal by Box and Muller; gamma by Marsaglia and Tsang, A Simple Method for Generating Gamma Variables, 2000. */
static double draw_normal(uint64_t *random)
{
	double u = 1 - random_unit(random), v = random_unit(random);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static double draw_gamma(uint64_t *random, double shape)
{
	double d, c;

	if (shape < 1)
		return draw_gamma(random, shape + 1) * pow(1 - random_unit(random), 1 / shape);
	d = shape - 1.0 / 3;
	c = 1 / sqrt(9 * d);
	for (;;) {
		double x = draw_normal(random), v = pow(1 + c * x, 3);

		if (v > 0 && log(1 - random_unit(random)) < 0.5 * x * x + d - d * v + d * log(v))
			return d * v;
	}
}

/* Deals one group's rows, shuffled, in the given shares. */
static int deal(const json_t *group, const double *shares, size_t count, uint64_t *random, json_t *parts,
	struct rounds_error *error)
{
	size_t size = json_array_size(group), dealt = 0;
	size_t *order = calloc(size + 1, sizeof(size_t));
	double sum = 0, until = 0;

	if (!order)
		return error_no_memory(error);
	for (size_t i = 0; i < size; i++)
		order[i] = i;
	random_shuffle(random, order, size);
	for (size_t i = 0; i < count; i++)
		sum += shares[i];
	for (size_t i = 0; i < count; i++) {
		until += shares[i] / sum * (double)size;
		for (; dealt < size && (i + 1 == count || (double)dealt + 0.5 <= until); dealt++)
			json_array_append(json_array_get(parts, i), json_array_get(group, order[dealt]));
	}
	free(order);
	return 0;
}

static bool each_has_a_row(const json_t *parts)
{
	size_t i;
	json_t *part;

	json_array_foreach (parts, i, part)
		if (json_array_size(part) == 0)
			return false;
	return true;
}

/* One try: every group dealt in shares of its own (alpha above 0) or in equal ones. */
static json_t *draw_parts(const json_t *groups, size_t count, double alpha, uint64_t *random, double *shares,
	struct rounds_error *error)
{
	json_t *parts = json_array();
	const char *value;
	json_t *group;

	for (size_t i = 0; i < count; i++)
		json_array_append_new(parts, json_array());
	json_object_foreach ((json_t *)(uintptr_t)groups, value, group) {
		for (size_t i = 0; i < count; i++)
			shares[i] = alpha > 0 ? draw_gamma(random, alpha) : 1;
		if (deal(group, shares, count, random, parts, error)) {
			json_decref(parts);
			return NULL;
		}
	}
	return parts;
}

static int draw(
	const json_t *groups, size_t count, double alpha, uint64_t seed, json_t **parts, struct rounds_error *error)
{
	uint64_t random = random_salted(seed, 0x51717);
	scoped(free) void *shares = calloc(count + 1, sizeof(double));

	for (int tries = 0; shares && tries < DRAWS; tries++) {
		*parts = draw_parts(groups, count, alpha, &random, shares, error);
		if (!*parts || each_has_a_row(*parts))
			return *parts ? 0 : -1;
		json_decref(*parts);
		*parts = NULL;
	}
	return error_set(error, ERROR_INVALID,
		"there are not enough rows for each of %zu sites to have one: fewer sites, or a greater alpha",
		count);
}

static int write_part(const json_t *rows, const json_t *part, const char *path, struct rounds_error *error)
{
	FILE *file = fopen(path, "w");
	size_t i, j;
	json_t *at, *text;

	if (!file)
		return error_errno(error, "cannot create %s", path);
	for (i = 0; i <= json_array_size(part); i++) {
		at = json_array_get(rows, i ? (size_t)json_integer_value(json_array_get(part, i - 1)) : 0);
		json_array_foreach (at, j, text) {
			if (j)
				fputc(',', file);
			csv_fwrite(file, json_string_value(text), json_string_length(text));
		}
		fputc('\n', file);
	}
	return fclose(file) ? error_errno(error, "cannot write %s", path) : 0;
}

/* A site's name from a value: what a name may not hold becomes a dash. */
static void name_of(const char *value, char *name, size_t size)
{
	snprintf(name, size, "%.63s", *value ? value : "missing");
	for (char *c = name; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
			*c = '-';
	if (!name_is_valid(name))
		name[0] = 'x';
}

static int by_column(const json_t *groups, json_t *parts, json_t *names, struct rounds_error *error)
{
	const char *value;
	json_t *group;
	size_t i;
	json_t *known;

	json_object_foreach ((json_t *)(uintptr_t)groups, value, group) {
		char name[64];

		name_of(value, name, sizeof(name));
		json_array_foreach (names, i, known)
			if (!strcmp(json_string_value(known), name))
				return error_set(error, ERROR_INVALID,
					"two values of the column give the site name \"%s\"", name);
		json_array_append_new(names, json_string(name));
		json_array_append(parts, group);
	}
	return 0;
}

/* Which rows go to whom. */
static int choose_parts(const json_t *rows, size_t count, const char *how, const char *label, uint64_t seed,
	json_t **parts, json_t *names, struct rounds_error *error)
{
	json_auto_t *groups = NULL;
	double alpha = !strncmp(how, "dirichlet:", 10) ? strtod(how + 10, NULL) : 0;
	size_t column;
	char name[24];

	if (!strncmp(how, "column:", 7)) {
		*parts = json_array();
		if (find_column(rows, how + 7, &column, error))
			return -1;
		groups = group_by(rows, column);
		return by_column(groups, *parts, names, error);
	}
	if (!strcmp(how, "even")) {
		groups = json_pack("{s:[]}", "all");
		for (size_t row = 1; row < json_array_size(rows); row++)
			json_array_append_new(json_object_get(groups, "all"), json_integer((json_int_t)row));
	} else if (alpha > 0) {
		if (find_column(rows, label, &column, error))
			return -1;
		groups = group_by(rows, column);
	} else {
		return error_set(error, ERROR_INVALID,
			"the split must be even, dirichlet:ALPHA with ALPHA above 0, or column:NAME; it is \"%.60s\"",
			how);
	}
	for (size_t i = 1; i <= count; i++) {
		snprintf(name, sizeof(name), count > 99 ? "site-%03zu" : count > 9 ? "site-%02zu" : "site-%zu", i);
		json_array_append_new(names, json_string(name));
	}
	return draw(groups, count, alpha, seed, parts, error);
}

int split_table(const char *path, const json_t *dataset, const char *folder, size_t count, const char *how,
	const char *label, uint64_t seed, json_t **sites, struct rounds_error *error)
{
	json_auto_t *rows = NULL, *parts = NULL, *names = json_array();
	size_t i;
	json_t *name;

	if (read_table(path, dataset, &rows, error) ||
		choose_parts(rows, count, how, label, seed, &parts, names, error))
		return -1;
	json_array_foreach (names, i, name) {
		scoped(text_free) char *file = text_new("%s/%s.csv", folder, json_string_value(name));

		if (!file)
			return error_no_memory(error);
		if (write_part(rows, json_array_get(parts, i), file, error))
			return -1;
	}
	*sites = json_incref(names);
	return 0;
}
