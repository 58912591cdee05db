/* SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): small, and the same everywhere, so that runs can be repeated. */
#ifndef ROUNDS_COMMON_RANDOM_H
#define ROUNDS_COMMON_RANDOM_H

#include <stddef.h>
#include <stdint.h>

uint64_t random_next(uint64_t *state);
/* In [0, 1), from the upper 53 bits. */
double random_unit(uint64_t *state);
/* A new state from a seed and a salt such as the round. */
uint64_t random_salted(uint64_t seed, uint64_t salt);
/* Fisher and Yates: shuffles `count` indices in place. */
void random_shuffle(uint64_t *state, size_t *items, size_t count);

#endif
