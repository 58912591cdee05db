#include "client/trainers/survival.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The longest first; equal ones in the order of their rows, so that sums are the same everywhere. */
static int by_time(const void *a, const void *b)
{
	const struct subject *x = a, *y = b;

	if (x->time != y->time)
		return x->time > y->time ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

static int by_score(const void *a, const void *b)
{
	const struct subject *x = a, *y = b;

	return (x->score > y->score) - (x->score < y->score);
}

/* The end of those who have the same time as the first. */
static size_t ties(const struct subject *subjects, size_t first, size_t count)
{
	size_t end = first + 1;

	while (end < count && subjects[end].time == subjects[first].time)
		end++;
	return end;
}

/* log(exp(a) + exp(b)): hazards are summed as logarithms, since those of raw features leave the range of numbers. */
static double log_add(double a, double b)
{
	double more = fmax(a, b), less = fmin(a, b);

	return less == -INFINITY ? more : more + log1p(exp(less - more));
}

double survival_loss(struct subject *subjects, size_t count, float *gradient)
{
	double risk = -INFINITY, hazard = -INFINITY, sum = 0;

	qsort(subjects, count, sizeof(*subjects), by_time);
	for (size_t i = 0, end; i < count; i = end) {
		end = ties(subjects, i, count);
		for (size_t j = i; j < end; j++)
			risk = log_add(risk, subjects[j].score);
		for (size_t j = i; j < end; j++) {
			subjects[j].risk = risk;
			sum += subjects[j].event ? risk - subjects[j].score : 0;
		}
	}
	/* From the shortest time on: `hazard` sums 1/risk over the events so far, ties with them. */
	for (size_t end = count, i; gradient && end > 0; end = i) {
		for (i = end; i > 0 && subjects[i - 1].time == subjects[end - 1].time; i--)
			if (subjects[i - 1].event)
				hazard = log_add(hazard, -subjects[i - 1].risk);
		for (size_t j = i; j < end; j++)
			gradient[subjects[j].row] = (float)((exp(subjects[j].score + hazard) - subjects[j].event) /
							    (double)count);
	}
	return sum / (double)count;
}

/* A Fenwick tree of how many there are of each rank, 1 to count. */
static void tree_add(size_t *tree, size_t count, size_t rank)
{
	for (; rank <= count; rank += rank & -rank)
		tree[rank]++;
}

static size_t tree_sum(const size_t *tree, size_t rank)
{
	size_t sum = 0;

	for (; rank > 0; rank -= rank & -rank)
		sum += tree[rank];
	return sum;
}

static void give_ranks(struct subject *subjects, size_t count)
{
	qsort(subjects, count, sizeof(*subjects), by_score);
	for (size_t i = 0; i < count; i++)
		subjects[i].rank = i > 0 && subjects[i].score == subjects[i - 1].score ? subjects[i - 1].rank : i + 1;
}

/* Those of [first, end) with or without the event are put into the tree; returns how many. */
static size_t outlive(
	const struct subject *subjects, size_t first, size_t end, bool event, size_t *tree, size_t count)
{
	size_t added = 0;

	for (size_t i = first; i < end; i++) {
		if (subjects[i].event != event)
			continue;
		tree_add(tree, count, subjects[i].rank);
		added++;
	}
	return added;
}

double survival_concordance(struct subject *subjects, size_t count, size_t *tree)
{
	double right = 0, pairs = 0;
	size_t known = 0;

	give_ranks(subjects, count);
	memset(tree, 0, (count + 1) * sizeof(*tree));
	qsort(subjects, count, sizeof(*subjects), by_time);
	for (size_t i = 0, end; i < count; i = end) {
		end = ties(subjects, i, count);
		/* Who is censored at a time has outlived those who have the event then. */
		known += outlive(subjects, i, end, false, tree, count);
		for (size_t j = i; j < end; j++) {
			size_t below = tree_sum(tree, subjects[j].rank - 1);
			size_t equal = tree_sum(tree, subjects[j].rank) - below;

			if (!subjects[j].event)
				continue;
			right += (double)below + (double)equal / 2;
			pairs += (double)known;
		}
		known += outlive(subjects, i, end, true, tree, count);
	}
	return pairs > 0 ? right / pairs : (double)NAN;
}
