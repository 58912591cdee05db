/* What the numbers of a tensor look like, for people: range, mean, deviation, a histogram. */
#ifndef ROUNDS_SERVER_AGGREGATE_SUMMARY_H
#define ROUNDS_SERVER_AGGREGATE_SUMMARY_H

#include "common/tensors.h"

#define SUMMARY_BINS_LIMIT 100

/*
 * {"count", "looked_at", "min", "max", "mean", "sd", "not_finite", "histogram": [bins counts from min to max]}: a new
 * reference, NULL without memory. Of a tensor with more than 2^20 elements, blocks spread evenly over it are looked at.
 */
json_t *tensor_summary(const struct tensor_file *file, const struct tensor *tensor, size_t bins);

#endif
