/* The rules of small cells, by hand. */
#include "tests/unit/test.h"

#include "client/trainers/audit.h"
#include "client/trainers/dominance.h"
#include "client/trainers/small_cells.h"

#include <math.h>

static struct column_shape shape_of(const double *given, size_t count, size_t least)
{
	double values[32];
	size_t people[32] = { 0 };

	memcpy(values, given, count * sizeof(double));
	return cells_judge(values, people, cells_tally(values, count, people), least);
}

static void columns_are_judged_by_whom_they_are_about(void **state)
{
	const double rare[] = { 0, 0, 0, 0, 0, 0, 1, 1 }, common[] = { 0, 0, 0, 1, 1, 1, (double)NAN };
	const double outlier[] = { 1, 2, 3, 4, 5, 6, 7, 1e6 }, tail[] = { 0, 0, 0, 0, 1, 1, 1, 2, 3, 4 };
	struct column_shape shape = shape_of(common, 7, 3);

	assert_true(shape.told && shape.indicator);
	assert_int_equal(shape.known, 6);
	assert_int_equal(shape.others, 3);
	assert_false(shape_of(rare, 8, 3).told_once);
	assert_false(shape_of(rare, 8, 2).told); /* one of the two knows the other */
	assert_false(shape_of(outlier, 8, 3).told_once);
	/* A sum alone tells of three people; with the squares they could be told apart. */
	assert_true(shape_of(tail, 10, 3).told_once);
	assert_false(shape_of(tail, 10, 3).told);
	assert_true(shape_of(outlier, 8, 1).told);
}

static void cells_are_merged_until_each_is_of_nobody_or_of_enough(void **state)
{
	const size_t totals[] = { 0, 0, 0, 3, 4, 8, 8, 9, 14 };
	bool begins[8], allowed[8] = { true, true, true, true, false, true, true, true };

	assert_true(cells_merge(&(struct cell_rules){ totals, 1, 3 }, 8, begins));
	for (size_t i = 0, first = 0; i <= 8; i++)
		if (i == 8 || begins[i]) {
			assert_true(cell_may_be_told(totals[i] - totals[first], 3));
			first = i;
		}
	assert_true(begins[0] && begins[1] && begins[2] && begins[6]);
	assert_true(cells_merge(&(struct cell_rules){ totals, 1, 3, .allowed = allowed }, 8, begins));
	assert_false(begins[4]);
	assert_false(cells_merge(&(struct cell_rules){ (const size_t[]){ 0, 1, 2 }, 1, 3 }, 2, begins));
	assert_true(begins[0] && !begins[1]);
}

static void an_outlier_is_bounded_by_enough(void **state)
{
	double values[] = { 1, 2, 3, 4, 5, 6, 7, 1000 }, low[] = { -1000, 1, 2, 3, 4, 5, 6, 7 };
	double even[] = { 1, 2, 3, 4, 5, 6, 7, 8 }, both[] = { -900, 1, 2, 3, 4, 5, 6, 1000 };
	const size_t people[] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	struct bounds bounds = cells_bound(values, people, 8, 3, 0);

	assert_true(bounds.high == 6 && isinf(bounds.low));
	assert_true(values[7] == 6 && values[6] == 6 && values[5] == 6 && values[4] == 5);
	bounds = cells_bound(low, people, 8, 3, 0);
	assert_true(bounds.low == 2 && isinf(bounds.high));
	bounds = cells_bound(even, people, 8, 3, 0);
	assert_true(isinf(bounds.low) && isinf(bounds.high));
	bounds = cells_bound(both, people, 8, 3, 0);
	assert_true(bounds.low == 2 && bounds.high == 5);
	assert_int_equal(cells_tally(values, 0, (size_t[]){ 0 }), 0);
	bounds = cells_bound(values, people, 0, 3, 1);
	assert_true(isinf(bounds.low) && isinf(bounds.high));
}

static void ranges_of_cells_know_their_greatest(void **state)
{
	const double parts[] = { 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 50 };
	enum { CELLS = 11 };
	scoped(dominance_free) struct dominance *dominance = dominance_new(CELLS, 2, (const bool[]){ false, true });

	for (size_t i = 0; i < CELLS; i++)
		for (size_t series = 0; series < 2; series++)
			dominance_add(dominance, series, i, parts[i]);
	dominance_settle(dominance);
	for (size_t begin = 0; begin < CELLS; begin++)
		for (size_t end = begin; end <= CELLS; end++) {
			double sum = 0, first = 0, second = 0;

			for (size_t i = begin; i < end; i++) {
				sum += parts[i];
				second = fmax(second, fmin(first, parts[i]));
				first = fmax(first, parts[i]);
			}
			assert_int_equal(dominance_hides(dominance, begin, end),
				!contributions_dominated(sum, first, second, false) &&
					!contributions_dominated(sum, first, second, true));
		}
	assert_true(dominance_hides(dominance, 0, 10));
	assert_false(dominance_hides(dominance, 7, 8));
	dominance_add(dominance, 0, 0, (double)INFINITY);
	dominance_settle(dominance);
	assert_false(dominance_hides(dominance, 0, 10));
}

/* Rows 0 to 9; vector 0: the first six, vector 1: the first five, vector 2: the last four. */
static double element(const void *context, size_t row, size_t vector)
{
	return vector == 0 ? row < 6 : vector == 1 ? row < 5 : row >= 6;
}

static void what_two_vectors_leave_is_refused(void **state)
{
	const size_t rows[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, all[] = { 0, 1, 2 };
	struct audit *audit = audit_new(rows, 10, 3, 3, element, NULL);

	assert_non_null(audit);
	assert_false(audit_admit(audit, all, 3));
	assert_true(audit_admit(audit, all, 1));
	assert_false(audit_admit(audit, all + 1, 1));
	assert_true(audit_admit(audit, all + 2, 1)); /* what vector 0 leaves */
	audit_free(audit);
}

/* Eighty values below 500 hide one of 42,668 in their sum, and not in the sum of their squares, whose root it is. */
static void one_outlier_is_not_told_by_its_square(void **state)
{
	double values[81];
	size_t people[81];
	struct column_shape shape;

	for (size_t i = 0; i < 80; i++) {
		values[i] = 100 + 5 * (double)i;
		people[i] = 1;
	}
	values[80] = 42668.3;
	people[80] = 1;
	shape = cells_judge(values, people, 81, 5);
	assert_true(shape.told_once && !shape.told_squares && !shape.told);
	values[80] = 700; /* one of many */
	shape = cells_judge(values, people, 81, 5);
	assert_true(shape.told_squares && shape.told);
	values[80] = 42668.3;
	assert_true(cells_judge(values, people, 81, 1).told); /* nobody asked for a guard */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_judged_by_whom_they_are_about),
		cmocka_unit_test(cells_are_merged_until_each_is_of_nobody_or_of_enough),
		cmocka_unit_test(an_outlier_is_bounded_by_enough),
		cmocka_unit_test(ranges_of_cells_know_their_greatest),
		cmocka_unit_test(what_two_vectors_leave_is_refused),
		cmocka_unit_test(one_outlier_is_not_told_by_its_square),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
