/*
 * Tree ensembles in XGBoost's own JSON model format (gbtree), as the bytes of the tensor "booster" (U8) of a safetensors file,
 * so that they travel, are stored and are proven like weights. A site is given a booster and returns it with trees of its own
 * behind. Merged, the given trees come first, then those of each site, in the order of the inputs: the aggregator "boosters".
 * https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
 */
#ifndef ROUNDS_SERVER_AGGREGATE_BOOSTERS_H
#define ROUNDS_SERVER_AGGREGATE_BOOSTERS_H

#include "common/view.h"

#include <jansson.h>
#include <stddef.h>

/* Whether a file holds a booster that begins with all trees of the model (NULL: of none). ERROR_UNPROCESSABLE says why not. */
must_check int boosters_check(const struct view *update, const struct view *model, struct rounds_error *error);

#endif
