/*
 * Auditing (Chin and Ozsoyoglu, Auditing and inference control in statistical databases, 1982): who has the sums of something over
 * the rows, each row weighted by vector v1, v2, ..., has its sum weighted by any linear combination of them, known or not what it
 * is. If a combination is 0 but for fewer than `least` rows, these few are told: one of 40 women who is not among the 39
 * in the ward of gynaecology, or the one patient who is in none of the wards that are told.
 *
 * Vectors are admitted one after the other or several at once; such as would make such a combination are not. A combination about few is 0 for every
 * kind of row that `least` people share, so only the combinations that are must be looked at. They are brought into reduced row
 * echelon form on several disjoint sets of pivots. If none of the rows of these forms is about few, then a combination that is
 * has at least two elements in each set (the bound of Brouwer and Zimmermann's algorithm for minimum distances): with least / 2
 * sets there is none. Where there are not so many sets the vector is not admitted: nothing is missed, but more than needed may
 * be kept back.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_AUDIT_H
#define ROUNDS_CLIENT_TRAINERS_AUDIT_H

#include <stdbool.h>
#include <stddef.h>

struct audit;

/* The element of a vector for a row of the table. */
typedef double audit_value_fn(const void *context, size_t row, size_t vector);

/* Of these rows, and at first of the vector of ones alone. `vectors` is how many there may be. NULL without memory. The context outlives the audit. */
struct audit *audit_new(
	const size_t *rows, size_t count, size_t vectors, size_t least, audit_value_fn *value, const void *context);
/* Whether the vectors can be told beside those admitted before: all or none. False also without memory. */
bool audit_admit(struct audit *audit, const size_t *vectors, size_t count);
void audit_free(struct audit *audit);

#endif
