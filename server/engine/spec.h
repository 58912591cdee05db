/* What a job may say: one table, from which the check, the defaults and api/job.schema.json come. */
#ifndef ROUNDS_SERVER_ENGINE_SPEC_H
#define ROUNDS_SERVER_ENGINE_SPEC_H

#include "common/fields.h"

/*
 * A checked copy of a job's spec with all defaults, its params checked by its workflow: a new reference, or NULL with
 * every fault appended to `faults`.
 */
json_t *spec_check(const json_t *given, json_t *faults);

/* The JSON Schema (2020-12) of a job, each workflow's params included: a new reference. */
json_t *spec_schema(void);

#endif
