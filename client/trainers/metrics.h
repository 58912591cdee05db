/* What is measured of a model on rows that it was not trained on. */
#ifndef ROUNDS_CLIENT_TRAINERS_METRICS_H
#define ROUNDS_CLIENT_TRAINERS_METRICS_H

#include "client/trainers/network.h"

#include <jansson.h>

struct metrics;

/* For at most `rows` rows of `outputs` outputs. */
must_check int metrics_new(
	enum loss loss, size_t outputs, size_t rows, struct metrics **metrics, struct rounds_error *error);
void metrics_free(struct metrics *metrics);
DEFINE_CLEANUP(struct metrics *, metrics_free);

/* `time` is for survival alone. */
void metrics_add(struct metrics *metrics, const float *outputs, float label, float time);
void metrics_add_loss(struct metrics *metrics, double mean, size_t rows);

/*
 * Into the object: loss; for classes accuracy; for two classes auc (the chance that a positive row scores above a
 * negative one, ties counted half; null if a class is absent); for numbers rmse; for survival c_index.
 */
void metrics_finish(struct metrics *metrics, json_t *values);

#endif
