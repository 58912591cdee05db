/* What a step asked for: a JSON array of actions, {"do": "task", ...}, as readable in a test as in a log. */
#ifndef ROUNDS_SERVER_ENGINE_PLAN_H
#define ROUNDS_SERVER_ENGINE_PLAN_H

#include "server/engine/workflow.h"

struct plan {
	json_t *actions; /* an array; the owner makes and drops it */
	bool failed;     /* an action could not be appended: out of memory */
};

#endif
