#include "client/trainers/dominance.h"

#include "client/trainers/small_cells.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a range of cells. */
struct peak {
	double sum, first, second;
};

/* For each series a segment tree: its leaves, the cells, are the second half, and each node before is of its two children. */
struct dominance {
	size_t cells, series;
	bool *squares;
	struct peak *nodes; /* series x 2 cells */
};

struct dominance *dominance_new(size_t cells, size_t series, const bool *squares)
{
	struct dominance *made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	made->cells = cells;
	made->series = series;
	made->squares = calloc(series + 1, sizeof(bool));
	made->nodes = calloc(2 * cells * series + 1, sizeof(*made->nodes));
	if (!made->squares || !made->nodes) {
		dominance_free(made);
		return NULL;
	}
	memcpy(made->squares, squares, series * sizeof(bool));
	return made;
}

void dominance_free(struct dominance *dominance)
{
	if (!dominance)
		return;
	free(dominance->squares);
	free(dominance->nodes);
	free(dominance);
}

static struct peak join(struct peak a, struct peak b)
{
	double lesser = fmin(a.first, b.first);

	return (struct peak){ a.sum + b.sum, fmax(a.first, b.first), fmax(lesser, fmax(a.second, b.second)) };
}

void dominance_add(struct dominance *dominance, size_t series, size_t cell, double contribution)
{
	struct peak *leaf = &dominance->nodes[(2 * series + 1) * dominance->cells + cell];

	*leaf = join(*leaf, (struct peak){ contribution, contribution, 0 });
}

void dominance_settle(struct dominance *dominance)
{
	for (size_t i = 0; i < dominance->series; i++) {
		struct peak *nodes = dominance->nodes + 2 * i * dominance->cells;

		for (size_t at = dominance->cells; at-- > 1;)
			nodes[at] = join(nodes[2 * at], nodes[2 * at + 1]);
	}
}

static struct peak peak_of(const struct peak *nodes, size_t begin, size_t end)
{
	struct peak peak = { 0 };

	for (; begin < end; begin /= 2, end /= 2) {
		if (begin % 2)
			peak = join(peak, nodes[begin++]);
		if (end % 2)
			peak = join(peak, nodes[--end]);
	}
	return peak;
}

bool dominance_hides(const void *context, size_t begin, size_t end)
{
	const struct dominance *dominance = context;
	size_t cells = dominance->cells;

	for (size_t i = 0; i < dominance->series; i++) {
		struct peak peak = peak_of(dominance->nodes + 2 * i * cells, cells + begin, cells + end);

		/* What is not a number hides nothing. */
		if (!isfinite(peak.sum) ||
			contributions_dominated(peak.sum, peak.first, peak.second, dominance->squares[i]))
			return false;
	}
	return true;
}
