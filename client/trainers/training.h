/*
 * What a task asks for: make a model, measure one, train one.
 *
 * The parameters are the job's `trainer` object; training_params is their table. Rows are split into training and
 * validation by the job's seed, the same way in every round.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_TRAINING_H
#define ROUNDS_CLIENT_TRAINERS_TRAINING_H

#include "client/trainers/dataset.h"
#include "common/fields.h"

extern const struct field training_params[];

/* Told after each epoch: how much is done, and the epoch's mean loss. */
typedef void progress_fn(double fraction, double loss);

/*
 * `task` is the executor protocol's document, `params` its checked parameters. *result is {"weight", "metrics"}: for a
 * trained model the metrics of the one that came in, on the validation rows, and train_loss, the mean over the last
 * epoch. A new reference.
 */
must_check int training_do(const json_t *task, const json_t *params, const struct dataset *dataset,
	progress_fn *progress, json_t **result, struct rounds_error *error);

#endif
