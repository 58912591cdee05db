/* One task from beginning to end: the model comes, the executor works, the result is kept (work.c) and delivered (delivery.c). */
#ifndef ROUNDS_CLIENT_SITE_WORK_H
#define ROUNDS_CLIENT_SITE_WORK_H

#include "client/site/beat.h"
#include "client/transfer.h"
#include "common/failure.h"

struct work {
	struct slot *slot;
	const json_t *task; /* the server's order, or a spool entry; borrowed */
	const char *id;
	json_t *entry; /* of the spool, once there is a result */
	struct beat beat;
	double size;     /* bytes of the transfer under way */
	json_t *timings; /* what the time went into, for the result */
	int64_t since;   /* when the part that is under way began, in steady time */
	char upload[UPLOAD_PATH_SIZE];
};

/* An order from beginning to end; failures are told to the server and logged. */
void work_do(struct slot *slot, const json_t *order);

/* A moved_fn of the work whose transfer is under way: the lease follows the bytes. */
bool work_moved(void *work, uint64_t bytes);

/* The path of one of the task's calls: the caller frees; NULL without memory. */
char *work_call(const struct work *work, const char *call);

#endif
