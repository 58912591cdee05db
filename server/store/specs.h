/*
 * The specs of the jobs that were asked for last, parsed, for all connections of a store: what of them is needed with every task
 * (job_find_at_work). A job's spec never changes and no id is used twice: so what is kept is true in every transaction that finds
 * the job's row, and a rollback has nothing to undo here. Whoever gets one gets a copy, a fifth of the work of parsing it:
 * jansson's references are not counted well enough for several threads to share a value.
 */
#ifndef ROUNDS_SERVER_STORE_SPECS_H
#define ROUNDS_SERVER_STORE_SPECS_H

#include <jansson.h>

struct specs;

struct specs *specs_new(void); /* NULL: no memory */
void specs_free(struct specs *specs);

/* A copy, or NULL if it is not kept. */
json_t *specs_find(struct specs *specs, const char *job);
void specs_keep(struct specs *specs, const char *job, const json_t *spec);
/* The job is deleted: nothing of it stays. */
void specs_drop(struct specs *specs, const char *job);

#endif
