/* What the files of this folder share. */
#ifndef ROUNDS_SERVER_AUDIT_INTERNAL_H
#define ROUNDS_SERVER_AUDIT_INTERNAL_H

#include "server/audit/audit.h"

#include <pthread.h>

enum { TALLIES = 256, MARK_EVERY = 256 };

/* Alike refusals of one minute. */
struct tally {
	char kind[40], by[64], role[16], from[48];
	int status;
	int64_t since_us, count; /* wall time of the first */
};

struct audit {
	struct store *store;
	struct world *world;
	char *private_pem, *public_pem;
	char fault[300];      /* what is wrong with the chain that was found at the start; empty: nothing */
	pthread_mutex_t lock; /* of all that follows */
	struct tally tallies[TALLIES];
	size_t tally_count;
	uint64_t unrecorded; /* what could not be written */
	int64_t marked_us;   /* when the chain was last signed */
};

/* export.c: signs the chain's end as it is in this transaction. */
must_check int audit_mark(
	struct store_tx *tx, struct audit *audit, struct checkpoint *checkpoint, struct rounds_error *error);

/* tally.c: what is over at `now` goes into `due` (room for TALLIES) and is counted anew; how many. */
size_t tallies_take(struct audit *audit, int64_t before_us, struct tally *due);
/* Back in, since they could not be written. */
void tallies_return(struct audit *audit, const struct tally *due, size_t count);

#endif
