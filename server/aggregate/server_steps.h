#ifndef ROUNDS_SERVER_AGGREGATE_SERVER_STEPS_H
#define ROUNDS_SERVER_AGGREGATE_SERVER_STEPS_H

#include "server/aggregate/server_step.h"

extern const struct server_step server_step_sgd, server_step_momentum, server_step_adagrad, server_step_yogi,
	server_step_adam, server_step_scaffold, server_step_kmeans, server_step_cox;

#endif
