#include "common/random.h"

uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

double random_unit(uint64_t *state)
{
	return (double)(random_next(state) >> 11) * 0x1p-53;
}

uint64_t random_salted(uint64_t seed, uint64_t salt)
{
	uint64_t state = seed ^ salt * UINT64_C(0xd1342543de82ef95);

	return random_next(&state);
}

void random_shuffle(uint64_t *state, size_t *items, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = (size_t)(random_next(state) % i), item = items[i - 1];

		items[i - 1] = items[j];
		items[j] = item;
	}
}
