/* Every aggregator there is. A new one is a new file in this folder and a row here. */
#include "server/aggregate/aggregators.h"

#include <string.h>

static const struct aggregator *const aggregators[] = {
	&aggregator_weighted_mean,
	&aggregator_mean,
	&aggregator_sum,
	&aggregator_total,
	&aggregator_combination,
	&aggregator_boosters,
	&aggregator_modular_sum,
	&aggregator_median,
	&aggregator_trimmed_mean,
	&aggregator_norm_clipping,
	&aggregator_geometric_median,
	&aggregator_krum,
	&aggregator_multi_krum,
	&aggregator_bulyan,
};

const struct aggregator *aggregator_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(aggregators); i++)
		if (name && !strcmp(aggregators[i]->name, name))
			return aggregators[i];
	return NULL;
}

struct variant aggregator_variant(size_t index)
{
	for (size_t i = 0; i < ARRAY_SIZE(aggregators); i++)
		if (aggregators[i]->is_offered && index-- == 0)
			return (struct variant){ aggregators[i]->name, aggregators[i]->params };
	return (struct variant){ 0 };
}
