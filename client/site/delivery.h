/*
 * What a site owes the server for a task: its result, or why there is none. Each is said until it is heard, through restarts
 * of either end; what the server refuses for good ends as a failure of the task, and never as the same training once more.
 */
#ifndef ROUNDS_CLIENT_SITE_DELIVERY_H
#define ROUNDS_CLIENT_SITE_DELIVERY_H

#include "client/site/work.h"

/* The kept result; true if the server has it. Its spool entry is gone unless the daemon stops before. */
bool deliver_result(struct work *work);

/* Its text goes along only where the executor's `share_log` says so. */
void deliver_failure(struct work *work, const struct failure *failure);

/* The daemon stops: another may have the task. */
void give_back(struct work *work);

#endif
