/*
 * What Kaplan and Meier's estimate is made of (Nonparametric estimation from incomplete observations, 1958): how many were at risk
 * when a cell of time began and how many had their event in it, in cells that are merged until in each nobody or at least `least`
 * have the event, and nobody or at least `least` go without it.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_KAPLAN_MEIER_H
#define ROUNDS_CLIENT_TRAINERS_KAPLAN_MEIER_H

#include "client/trainers/guarded_table.h"

struct kaplan_meier {
	size_t bins, least;
	double end; /* of the last cell; the first begins at 0 */
	size_t *totals; /* (bins + 1) x 2, before each cell: who had the event, and who went without it, after the end too */
	bool *begins;  /* bins: a merged cell begins here */
	bool told;     /* whether anything of it may be told */
	bool everyone; /* whether all rows that have a time count */
};

/* `time` and `event` are columns of the table; the event is where the latter is 1. Rows with a time below 0 do not count. */
must_check int kaplan_meier_count(const struct guarded_table *table, size_t time, size_t event,
	struct kaplan_meier *km, struct rounds_error *error);
void kaplan_meier_free(struct kaplan_meier km);

/* Filled in: bins each, and bins + 1 edges. All cells of a merged one tell who was at risk at its begin, its last the events. */
void kaplan_meier_tell(const struct kaplan_meier *km, double *events, double *at_risk, double *edges);

/* Whether it may be told beside this how many of the same rows have a time below some number. */
bool kaplan_meier_allows(const struct kaplan_meier *km, size_t below);

#endif
