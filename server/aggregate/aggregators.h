#ifndef ROUNDS_SERVER_AGGREGATE_AGGREGATORS_H
#define ROUNDS_SERVER_AGGREGATE_AGGREGATORS_H

#include "server/aggregate/aggregate.h"

extern const struct aggregator aggregator_weighted_mean, aggregator_mean, aggregator_sum, aggregator_total,
	aggregator_combination, aggregator_boosters, aggregator_modular_sum, aggregator_median,
	aggregator_trimmed_mean, aggregator_norm_clipping, aggregator_geometric_median, aggregator_krum,
	aggregator_multi_krum, aggregator_bulyan;

#endif
