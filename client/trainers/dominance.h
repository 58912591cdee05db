/*
 * The p% rule (small_cells.h) in cells of time: whether one patient's contribution to what a range of cells tells hides among the
 * others'. Contributions are what each person adds to a series: a distance from the column's median, or its square.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_DOMINANCE_H
#define ROUNDS_CLIENT_TRAINERS_DOMINANCE_H

#include "common/scope.h"

#include <stdbool.h>
#include <stddef.h>

struct dominance;

/* Series without contributions; NULL without memory. squares[i] says whether those of series i are squares; it is copied. */
struct dominance *dominance_new(size_t cells, size_t series, const bool *squares);
void dominance_free(struct dominance *dominance);
DEFINE_CLEANUP(struct dominance *, dominance_free);

void dominance_add(struct dominance *dominance, size_t series, size_t cell, double contribution);
/* All has been added: ranges may be asked about. */
void dominance_settle(struct dominance *dominance);
/* Whether in no series one contribution dominates the cells [begin, end). For `struct cell_rules`, so `dominance` is void. */
bool dominance_hides(const void *dominance, size_t begin, size_t end);

#endif
