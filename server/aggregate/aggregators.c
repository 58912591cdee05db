/* Every aggregator there is. A new one is a row here, with a prepare function, a kernel, or both. */
#include "server/aggregate/aggregator.h"

#include <string.h>

static const struct aggregator table[] = {
	{ "weighted_mean", "The mean, weighted by the sites' sample counts", false, NULL, kernel_mean },
	{ "mean", "The mean, every site counted alike", false, prepare_equal, kernel_mean },
	{ "sum", "The sum", false, prepare_sum, kernel_mean },
	{ "total", "The sum of statistics, which are not like a model", false, prepare_sum, kernel_mean },
	{ "combination", "Weights as they are given, of either sign", false, prepare_given, kernel_mean },
	{ "median", "The median of every coordinate", false, prepare_median, kernel_trimmed },
	{ "trimmed_mean", "The mean of every coordinate without the most extreme values", false, prepare_trimmed,
		kernel_trimmed },
	{ "norm_clipping", "The weighted mean of changes whose norm is limited", true, prepare_clipped, kernel_mean },
	{ "geometric_median", "The point with the least sum of distances to the updates (RFA)", true,
		prepare_geometric, kernel_mean },
	{ "krum", "The one update that lies nearest to its neighbours", true, prepare_krum, kernel_mean },
	{ "multi_krum", "The mean of the updates that lie nearest to their neighbours", true, prepare_multi_krum,
		kernel_mean },
	{ "bulyan", "Updates chosen by Krum, then of every coordinate the values nearest to the median", true,
		prepare_bulyan, kernel_nearest },
};

const struct aggregator *aggregator_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (name && !strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

bool aggregator_needs_model(const struct aggregator *aggregator)
{
	return aggregator->needs_gram;
}
