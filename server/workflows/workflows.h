#ifndef ROUNDS_SERVER_WORKFLOWS_WORKFLOWS_H
#define ROUNDS_SERVER_WORKFLOWS_WORKFLOWS_H

#include "server/engine/workflow.h"

extern const struct workflow workflow_fedavg;

#endif
