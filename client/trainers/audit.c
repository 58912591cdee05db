#include "client/trainers/audit.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Elements that differ by less are equal: vectors are scaled to a greatest element of 1. */
static const double NOTHING = 1e-9;

/* Rows for which all vectors have the same elements. */
struct atom {
	uint64_t hash;
	size_t row, people; /* one of them, and how many */
};

struct audit {
	struct atom *atoms;   /* the largest first */
	size_t count, common; /* how many there are, and how many have `least` people */
	size_t least;
	double **basis; /* rank vectors of `count` elements, 0 before their pivots, which all differ */
	size_t *pivots;
	size_t rank;
	double *next; /* a vector under examination */
	audit_value_fn *value;
	const void *context;
};

/* FNV-1a over the elements' bits: two different rows share one by chance once in 2^64. */
static uint64_t hash_row(const struct audit *audit, size_t row, size_t vectors)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < vectors; i++) {
		double value = audit->value(audit->context, row, i) + 0.0; /* -0 becomes 0 */
		uint64_t bits;

		memcpy(&bits, &value, sizeof(bits));
		hash = (hash ^ bits ^ (bits >> 32)) * UINT64_C(0x100000001b3);
		hash ^= hash >> 29;
	}
	return hash;
}

static int by_hash(const void *a, const void *b)
{
	const struct atom *x = a, *y = b;

	return (x->hash > y->hash) - (x->hash < y->hash);
}

static int by_people(const void *a, const void *b)
{
	const struct atom *x = a, *y = b;

	if (x->people != y->people)
		return x->people > y->people ? -1 : 1;
	return by_hash(a, b);
}

static void make_atoms(struct audit *audit, const size_t *rows, size_t count, size_t vectors)
{
	for (size_t i = 0; i < count; i++)
		audit->atoms[i] = (struct atom){ hash_row(audit, rows[i], vectors), rows[i], 1 };
	qsort(audit->atoms, count, sizeof(*audit->atoms), by_hash);
	for (size_t i = 0; i < count; i++) {
		if (audit->count > 0 && audit->atoms[audit->count - 1].hash == audit->atoms[i].hash)
			audit->atoms[audit->count - 1].people++;
		else
			audit->atoms[audit->count++] = audit->atoms[i];
	}
	qsort(audit->atoms, audit->count, sizeof(*audit->atoms), by_people);
	while (audit->common < audit->count && audit->atoms[audit->common].people >= audit->least)
		audit->common++;
}

struct audit *audit_new(
	const size_t *rows, size_t count, size_t vectors, size_t least, audit_value_fn *value, const void *context)
{
	struct audit *audit = calloc(1, sizeof(*audit));

	if (!audit)
		return NULL;
	audit->least = least;
	audit->value = value;
	audit->context = context;
	audit->atoms = calloc(count + 1, sizeof(*audit->atoms));
	audit->basis = calloc(vectors + 1, sizeof(*audit->basis));
	audit->pivots = calloc(vectors + 1, sizeof(*audit->pivots));
	audit->next = calloc(count + 1, sizeof(double));
	if (audit->basis)
		audit->basis[0] = calloc(count + 1, sizeof(double));
	if (!audit->atoms || !audit->pivots || !audit->next || !audit->basis || !audit->basis[0]) {
		audit_free(audit);
		return NULL;
	}
	make_atoms(audit, rows, count, vectors);
	for (size_t i = 0; i < audit->count; i++)
		audit->basis[0][i] = 1;
	audit->rank = 1;
	return audit;
}

/* vector -= share * other, and nothing where that is nothing. */
static void subtract(double *vector, double share, const double *other, size_t count)
{
	for (size_t i = 0; share != 0 && i < count; i++) {
		vector[i] -= share * other[i];
		if (fabs(vector[i]) < NOTHING)
			vector[i] = 0;
	}
}

static void divide(double *vector, double by, size_t count)
{
	for (size_t i = 0; i < count; i++)
		vector[i] /= by;
}

/* What the vector adds to the basis, 1 at its pivot; false: nothing. */
static bool reduce(struct audit *audit, size_t vector, size_t *pivot)
{
	double greatest = 0;

	for (size_t i = 0; i < audit->count; i++) {
		audit->next[i] = audit->value(audit->context, audit->atoms[i].row, vector);
		greatest = fmax(greatest, fabs(audit->next[i]));
	}
	if (greatest > 0)
		divide(audit->next, greatest, audit->count);
	for (size_t i = 0; i < audit->rank; i++)
		subtract(audit->next, audit->next[audit->pivots[i]], audit->basis[i], audit->count);
	for (*pivot = 0; *pivot < audit->count && audit->next[*pivot] == 0;)
		(*pivot)++;
	if (*pivot == audit->count)
		return false;
	divide(audit->next, audit->next[*pivot], audit->count);
	return true;
}

/* The combinations that are 0 for all common rows, over the others. */
struct rest {
	size_t rank, count, least; /* vectors; kinds of rows */
	double **vectors;
	size_t *people; /* of each kind */
	bool *used;     /* kinds that have been pivots */
	size_t *pivots;
};

/* A vector from `from` on that is not 0 for all kinds that have not been pivots comes to the front; false: there is none. */
static bool choose_pivot(struct rest *rest, size_t from)
{
	double greatest = NOTHING, *chosen;

	for (size_t i = from; greatest <= NOTHING && i < rest->rank; i++) {
		chosen = rest->vectors[i];
		for (size_t j = 0; j < rest->count; j++)
			if (!rest->used[j] && fabs(chosen[j]) > greatest) {
				greatest = fabs(chosen[j]);
				rest->pivots[from] = j;
			}
		if (greatest > NOTHING) {
			rest->vectors[i] = rest->vectors[from];
			rest->vectors[from] = chosen;
		}
	}
	return greatest > NOTHING;
}

/* Reduced row echelon form on a set of pivots that are new; false if there is none. */
static bool reduce_rest(struct rest *rest)
{
	for (size_t i = 0; i < rest->rank; i++) {
		if (!choose_pivot(rest, i))
			return false;
		divide(rest->vectors[i], rest->vectors[i][rest->pivots[i]], rest->count);
		for (size_t j = 0; j < rest->rank; j++)
			if (j != i)
				subtract(rest->vectors[j], rest->vectors[j][rest->pivots[i]], rest->vectors[i],
					rest->count);
	}
	for (size_t i = 0; i < rest->rank; i++)
		rest->used[rest->pivots[i]] = true;
	return true;
}

/* Whether each of the vectors is about enough people. */
static bool have_enough(const struct rest *rest)
{
	for (size_t i = 0; i < rest->rank; i++) {
		size_t people = 0;

		for (size_t j = 0; j < rest->count; j++)
			people += rest->vectors[i][j] != 0 ? rest->people[j] : 0;
		if (people < rest->least)
			return false;
	}
	return true;
}

/* A kind's elements in all vectors, but for a common factor. */
static uint64_t hash_kind(const struct rest *rest, size_t kind)
{
	double first = 0;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < rest->rank; i++) {
		double value = rest->vectors[i][kind];

		first = first == 0 ? value : first;
		hash = (hash ^ (uint64_t)(int64_t)(first == 0 ? 0 : round(value / first * 1e6))) *
		       UINT64_C(0x100000001b3);
		hash ^= hash >> 29;
	}
	return first == 0 ? 0 : hash;
}

/* Kinds of rows that no combination tells apart become one. */
static bool merge_kinds(struct rest *rest)
{
	struct atom *kinds = calloc(rest->count + 1, sizeof(*kinds));
	size_t first = 0;

	if (!kinds)
		return false;
	for (size_t j = 0; j < rest->count; j++)
		kinds[j] = (struct atom){ hash_kind(rest, j), j, rest->people[j] };
	qsort(kinds, rest->count, sizeof(*kinds), by_hash);
	for (size_t j = 1; j < rest->count; j++) {
		if (kinds[j].hash != kinds[first].hash || kinds[j].hash == 0) {
			first = j;
			continue;
		}
		rest->people[kinds[first].row] += kinds[j].people;
		for (size_t i = 0; i < rest->rank; i++)
			rest->vectors[i][kinds[j].row] = 0;
	}
	free(kinds);
	return true;
}

/* A combination that is not 0 for a common kind is about enough: only the others remain. Whether there was one. */
static bool drop_common(struct rest *rest)
{
	size_t rank = rest->rank;

	for (size_t j = 0; j < rest->count; j++) {
		size_t i = 0;
		double *dropped;

		if (rest->people[j] < rest->least)
			continue;
		while (i < rest->rank && rest->vectors[i][j] == 0)
			i++;
		if (i == rest->rank)
			continue;
		dropped = rest->vectors[i];
		rest->vectors[i] = rest->vectors[--rest->rank];
		for (i = 0; i < rest->rank; i++)
			subtract(rest->vectors[i], rest->vectors[i][j] / dropped[j], dropped, rest->count);
		free(dropped);
	}
	return rest->rank < rank;
}

/* The vectors of the basis that begin behind the common atoms. */
static bool copy_rest(const struct audit *audit, struct rest *rest)
{
	for (size_t j = 0; j < rest->count; j++)
		rest->people[j] = audit->atoms[audit->common + j].people;
	for (size_t i = 0; i < audit->rank; i++) {
		double *copy;

		if (audit->pivots[i] < audit->common)
			continue;
		copy = malloc((rest->count + 1) * sizeof(double));
		if (!copy)
			return false;
		memcpy(copy, audit->basis[i] + audit->common, rest->count * sizeof(double));
		rest->vectors[rest->rank++] = copy;
	}
	return true;
}

static bool is_safe(const struct audit *audit)
{
	struct rest rest = { .count = audit->count - audit->common, .least = audit->least };
	bool safe;

	rest.vectors = calloc(audit->rank + 1, sizeof(*rest.vectors));
	rest.people = calloc(rest.count + 1, sizeof(size_t));
	rest.used = calloc(rest.count + 1, sizeof(bool));
	rest.pivots = calloc(audit->rank + 1, sizeof(size_t));
	safe = rest.vectors && rest.people && rest.used && rest.pivots && copy_rest(audit, &rest);
	do
		safe = safe && merge_kinds(&rest);
	while (safe && drop_common(&rest));
	for (size_t i = 0; safe && rest.rank > 0 && 2 * i < audit->least; i++)
		safe = reduce_rest(&rest) && have_enough(&rest);
	for (size_t i = 0; rest.vectors && i < rest.rank; i++)
		free(rest.vectors[i]);
	free(rest.vectors);
	free(rest.people);
	free(rest.used);
	free(rest.pivots);
	return safe;
}

/* Puts a vector into the basis unless it is a combination of what is there. */
static bool add(struct audit *audit, size_t vector)
{
	size_t pivot;
	double *kept;

	if (!reduce(audit, vector, &pivot))
		return true;
	kept = malloc((audit->count + 1) * sizeof(double));
	if (!kept)
		return false;
	memcpy(kept, audit->next, audit->count * sizeof(double));
	audit->pivots[audit->rank] = pivot;
	audit->basis[audit->rank++] = kept;
	return true;
}

bool audit_admit(struct audit *audit, const size_t *vectors, size_t count)
{
	size_t before = audit->rank;
	bool common = true, added = true;

	for (size_t i = 0; added && i < count; i++)
		added = add(audit, vectors[i]);
	for (size_t i = before; i < audit->rank; i++)
		common &= audit->pivots[i] < audit->common;
	if (added && (common || is_safe(audit)))
		return true;
	while (audit->rank > before)
		free(audit->basis[--audit->rank]);
	return false;
}

void audit_free(struct audit *audit)
{
	if (!audit)
		return;
	for (size_t i = 0; audit->basis && (i == 0 || i < audit->rank); i++)
		free(audit->basis[i]);
	free(audit->atoms);
	free(audit->basis);
	free(audit->pivots);
	free(audit->next);
	free(audit);
}
