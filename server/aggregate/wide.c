#include "server/aggregate/wide.h"

#include <math.h>
#include <string.h>

static int64_t element(const struct stretch *stretch, size_t i, size_t at)
{
	int64_t value;

	memcpy(&value, stretch->inputs[i] + at * sizeof(value), sizeof(value));
	return value;
}

bool wide_find(const struct stretch *stretch, size_t at, int64_t *base)
{
	static const int64_t limit = INT64_C(1) << 53;

	*base = element(stretch, 0, at);
	for (size_t i = 0; i < stretch->inputs_count; i++) {
		int64_t value = element(stretch, i, at);

		if (value > limit || value < -limit)
			return true;
	}
	return false;
}

long double wide_distance(const struct stretch *stretch, size_t i, size_t at, int64_t base)
{
	return (long double)element(stretch, i, at) - (long double)base;
}

void wide_put(const struct stretch *stretch, size_t at, int64_t base, long double times, long double distance)
{
	long double whole = (long double)base * times + rintl(distance);
	int64_t value = whole >= 0x1p63L ? INT64_MAX : whole <= -0x1p63L ? INT64_MIN : (int64_t)rintl(whole);

	memcpy(stretch->output + at * sizeof(value), &value, sizeof(value));
}
