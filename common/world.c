#include "common/world.h"

#include <openssl/rand.h>
#include <stdlib.h>

static int64_t real_steady_us(struct world *world)
{
	(void)world;
	return clock_steady_us();
}

static int64_t real_wall_us(struct world *world)
{
	(void)world;
	return clock_wall_us();
}

static void real_random(struct world *world, void *bytes, size_t size)
{
	(void)world;
	if (RAND_bytes(bytes, (int)size) != 1)
		abort();
}

static void real_boot_id(struct world *world, char id[37])
{
	(void)world;
	clock_boot_id(id);
}

struct world *world_real(void)
{
	static struct world real = { real_steady_us, real_wall_us, real_random, real_boot_id, 0 };

	return &real;
}

int64_t world_steady_us(struct world *world)
{
	return world->steady_us(world);
}

int64_t world_wall_us(struct world *world)
{
	return world->wall_us(world);
}

void world_random(struct world *world, void *bytes, size_t size)
{
	world->random(world, bytes, size);
}

void world_boot_id(struct world *world, char id[37])
{
	world->boot_id(world, id);
}
