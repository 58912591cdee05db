#ifndef ROUNDS_SERVER_WORKFLOWS_WORKFLOWS_H
#define ROUNDS_SERVER_WORKFLOWS_WORKFLOWS_H

#include "server/engine/workflow.h"

extern const struct workflow workflow_fedavg, workflow_fedavgm, workflow_fedprox, workflow_fedadagrad,
	workflow_fedadam, workflow_fedyogi, workflow_scaffold, workflow_fednova, workflow_qfedavg, workflow_ditto,
	workflow_cyclic, workflow_xgboost_bagging, workflow_xgboost_cyclic, workflow_fedbuff,
	workflow_cross_site_evaluation, workflow_evaluate, workflow_statistics, workflow_kmeans, workflow_cox;

#endif
