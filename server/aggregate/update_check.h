/* Whether an update may count: it has the model's tensors, all finite, its schema or none, and lies near enough to it. */
#ifndef ROUNDS_SERVER_AGGREGATE_UPDATE_CHECK_H
#define ROUNDS_SERVER_AGGREGATE_UPDATE_CHECK_H

#include "common/view.h"

/*
 * `model` NULL: there is nothing to compare with, only form and finiteness are checked. *distance is the L2 norm
 * of update - model over all floating tensors (of the update itself without a model); above `bound` (0: none) the
 * update is refused. ERROR_UNPROCESSABLE names the tensor at fault.
 */
must_check int update_check(const struct view *update, const struct view *model, double bound, double *distance,
	struct rounds_error *error);

#endif
