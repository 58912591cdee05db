/* A world whose clocks a test sets and whose random bytes come from a seed (SplitMix64): the same run, each time. */
#ifndef ROUNDS_TESTS_UNIT_WORLD_H
#define ROUNDS_TESTS_UNIT_WORLD_H

#include "common/random.h"
#include "common/world.h"

#include <stdio.h>
#include <string.h>

struct test_world {
	struct world world;
	int64_t steady,
		wall; /* both move with test_world_pass; either may be set alone, as when somebody sets the clock */
	uint64_t random;
	unsigned boot;
};

static inline int64_t test_world_steady_us(struct world *world)
{
	return ((struct test_world *)world)->steady;
}

static inline int64_t test_world_wall_us(struct world *world)
{
	return ((struct test_world *)world)->wall;
}

static inline void test_world_random(struct world *world, void *bytes, size_t size)
{
	struct test_world *own = (struct test_world *)world;

	for (size_t i = 0; i < size; i++)
		((unsigned char *)bytes)[i] = (unsigned char)random_next(&own->random);
}

static inline void test_world_boot_id(struct world *world, char id[37])
{
	snprintf(id, 37, "00000000-0000-4000-8000-%012u", ((struct test_world *)world)->boot);
}

/* Steady time begins within a boot, wall time on the first of March 2026. */
static inline void test_world_begin(struct test_world *world, uint64_t seed)
{
	*world = (struct test_world){
		.world = { test_world_steady_us, test_world_wall_us, test_world_random, test_world_boot_id, 0 },
		.steady = 1000 * SECOND_US,
		.wall = INT64_C(1772323200) * SECOND_US,
		.random = seed,
	};
}

static inline void test_world_pass(struct test_world *world, int64_t us)
{
	world->steady += us;
	world->wall += us;
}

#endif
