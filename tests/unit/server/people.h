/*
 * The people of a federation: they submit, pause, abort, skip and ask for proofs, take sites away and put them back, stop the server,
 * boot its machine, set its clock. The dice say what and when.
 */
#ifndef ROUNDS_TESTS_UNIT_PEOPLE_H
#define ROUNDS_TESTS_UNIT_PEOPLE_H

#include "tests/unit/server/federation.h"

struct people {
	struct federation *f;
	char token[80], session[24], invitation[200];
	int64_t next, token_ends, session_ends, invitation_ends; /* ends: wall time */
	struct setup setup;
	json_t *paused;  /* {job: when it goes on} */
	json_t *removed; /* {site: when it is back} */
	size_t submitted;
};

void people_begin(struct people *people, struct federation *f);
void people_end(struct people *people);
/* What is due by now; new jobs only where it `submits`. Then that each secret is as good as it should be. */
void people_act(struct people *people, bool submits);

#endif
