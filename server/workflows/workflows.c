/* Every workflow there is. A new one is a new file in this folder and a row here. */
#include "server/workflows/workflows.h"

#include <string.h>

const struct workflow *const workflows[] = {
	&workflow_fedavg,
	&workflow_fedavgm,
	&workflow_fedprox,
	&workflow_fedadagrad,
	&workflow_fedadam,
	&workflow_fedyogi,
	&workflow_scaffold,
	&workflow_fednova,
	&workflow_qfedavg,
	&workflow_ditto,
	&workflow_fedbuff,
	&workflow_cyclic,
	&workflow_xgboost_bagging,
	&workflow_xgboost_cyclic,
	&workflow_cross_site_evaluation,
	&workflow_evaluate,
	&workflow_statistics,
	&workflow_kmeans,
	&workflow_cox,
	NULL,
};

const struct workflow *workflow_find(const char *name)
{
	for (const struct workflow *const *at = workflows; *at; at++)
		if (name && !strcmp((*at)->name, name))
			return *at;
	return NULL;
}
