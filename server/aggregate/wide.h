/*
 * Integers that are no doubles. From 2^53 on a double counts in steps of two and more, so an I64 of that size (a key, a
 * nanosecond) would come out of an aggregation as another. Of such elements the kernels take how far each input lies from
 * the first one, which is small or at least exact in the 80-bit format, and put the first one back behind it. All other
 * elements go the way of every type: their results have the same bits as ever.
 */
#ifndef ROUNDS_SERVER_AGGREGATE_WIDE_H
#define ROUNDS_SERVER_AGGREGATE_WIDE_H

#include "server/aggregate/kernels.h"

/* Whether any input's element `at` of an I64 tensor is beyond 2^53; *base is then the first input's. */
bool wide_find(const struct stretch *stretch, size_t at, int64_t *base);
/* How far the element of input `i` lies from it. */
long double wide_distance(const struct stretch *stretch, size_t i, size_t at, int64_t base);
/* Writes base x times + distance, rounded to the nearest integer and kept within the type. */
void wide_put(const struct stretch *stretch, size_t at, int64_t base, long double times, long double distance);

#endif
