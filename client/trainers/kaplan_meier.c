#include "client/trainers/kaplan_meier.h"

#include <math.h>
#include <stdlib.h>

enum { WITH_EVENT, WITHOUT_EVENT, SERIES };

/* Whom the counts do not hold, but whose number follows from other counts of the columns. */
struct outside {
	size_t all, without_time, without_event;
};

static struct outside count_rows(
	const struct guarded_table *table, size_t time, size_t event, struct kaplan_meier *km)
{
	struct outside outside = { 0 };

	for (size_t row = 0; row < table->data->rows; row++) {
		double when = guarded_value(table, row, time), what = guarded_value(table, row, event);
		double cell = km->end > 0 ? floor(when / km->end * (double)km->bins) : 0;
		bool inside = cell < (double)km->bins;
		size_t line = 1 + (inside && cell >= 0 ? (size_t)cell : km->bins - 1);

		outside.without_time += isnan(when) && !isnan(what);
		outside.without_event += isnan(what) && !isnan(when);
		if (isnan(when) || isnan(what) || cell < 0)
			outside.all++;
		else
			km->totals[SERIES * line + (what == 1 && inside ? WITH_EVENT : WITHOUT_EVENT)]++;
	}
	return outside;
}

int kaplan_meier_count(const struct guarded_table *table, size_t time, size_t event, struct kaplan_meier *km,
	struct rounds_error *error)
{
	struct outside outside;
	struct cell_rules rules = { .series = SERIES, .least = table->least };

	km->least = table->least;
	km->totals = calloc(SERIES * (km->bins + 1), sizeof(size_t));
	km->begins = calloc(km->bins, sizeof(bool));
	if (!km->totals || !km->begins)
		return error_no_memory(error);
	outside = count_rows(table, time, event, km);
	for (size_t i = SERIES; i < SERIES * (km->bins + 1); i++)
		km->totals[i] += km->totals[i - SERIES];
	km->everyone = table->columns[time].shape.known + outside.all == table->data->rows;
	rules.totals = km->totals;
	km->told = cells_merge(&rules, km->bins, km->begins) && cell_may_be_told(outside.all, km->least) &&
		   cell_may_be_told(outside.without_time, km->least) &&
		   cell_may_be_told(outside.without_event, km->least);
	return 0;
}

void kaplan_meier_free(struct kaplan_meier km)
{
	free(km.totals);
	free(km.begins);
}

void kaplan_meier_tell(const struct kaplan_meier *km, double *events, double *at_risk, double *edges)
{
	const size_t *end = km->totals + SERIES * km->bins, *first = km->totals;

	edges[km->bins] = 1;
	for (size_t i = 0; i < km->bins; i++) {
		const size_t *here = km->totals + SERIES * i, *next = here + SERIES;

		edges[i] = !km->told || km->begins[i];
		first = km->begins[i] ? here : first;
		if (!km->told)
			continue;
		at_risk[i] = (double)(end[WITH_EVENT] + end[WITHOUT_EVENT] - first[WITH_EVENT] -
				      first[WITHOUT_EVENT]);
		if (i + 1 == km->bins || km->begins[i + 1])
			events[i] = (double)(next[WITH_EVENT] - first[WITH_EVENT]);
	}
}

bool kaplan_meier_allows(const struct kaplan_meier *km, size_t below)
{
	if (!km->told)
		return true;
	if (!km->everyone)
		return false;
	for (size_t i = 0; i < km->bins; i++) {
		size_t before = km->totals[SERIES * i + WITH_EVENT] + km->totals[SERIES * i + WITHOUT_EVENT];

		if (km->begins[i] && !cell_may_be_told(before > below ? before - below : below - before, km->least))
			return false;
	}
	return true;
}
