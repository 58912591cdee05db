/*
 * What a room knows of the world outside by asking: two clocks (clock.h), random bytes, and which boot of the machine this is.
 * They are functions that are handed in, as dqlite's raft.h does with its I/O and LevelDB with its Env, so that a test runs a day
 * in a second, and the same day twice. Files and memory are not in here: tests break those underneath (tests/unit/faults.h).
 *
 * A world outlives whatever was given it. All functions may be called from any thread.
 */
#ifndef ROUNDS_COMMON_WORLD_H
#define ROUNDS_COMMON_WORLD_H

#include "common/clock.h"

#include <stdatomic.h>
#include <stddef.h>

struct world {
	int64_t (*steady_us)(struct world *world);
	int64_t (*wall_us)(struct world *world);
	/* Fills `size` bytes that nobody can guess. It cannot fail: where there is no randomness, nothing can go on securely. */
	void (*random)(struct world *world, void *bytes, size_t size);
	void (*boot_id)(struct world *world, char id[37]);
	atomic_uint_fast64_t stamp; /* of the newest id that was made in it: uuid.c */
};

/* This machine: its clocks, and OpenSSL's random bytes. */
struct world *world_real(void);

int64_t world_steady_us(struct world *world);
int64_t world_wall_us(struct world *world);
void world_random(struct world *world, void *bytes, size_t size);
void world_boot_id(struct world *world, char id[37]);

#endif
