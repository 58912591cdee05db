/*
 * Projects, and what is seen of them. A job belongs to one project, for good; its rounds, tasks, events, metrics and proofs
 * do through the job, a blob through the jobs that use it. Sites, accounts, webhooks and the like are the server's own.
 */
#ifndef ROUNDS_SERVER_STORE_PROJECTS_H
#define ROUNDS_SERVER_STORE_PROJECTS_H

#include "server/store/dialect.h"
#include "server/store/store.h"

#include <stdbool.h>

/* The projects in which somebody may do what they ask for. */
struct scope {
	json_t *projects; /* an array of names; NULL: all there are */
};
extern const struct scope scope_all;

/* A scope that is NULL holds nothing. */
bool scope_is_all(const struct scope *scope);
bool scope_holds(const struct scope *scope, const char *project);

/* A condition on `job` for a statement's parameter, "?1", to which the scope's `projects` are bound as `j`. */
#define JOB_IN_SCOPE(parameter) "(" parameter " IS NULL OR job.project IN " JSON_TEXTS(parameter) ")"

/*
 * Whether an object is in a scope, or is a blob that `owner` ("person:NAME") brought. `kind` is what paths call it, as in
 * `{job}`. ERROR_NOT_FOUND, in the same words, if it is not and if there is none. The server's own and uploads, which only
 * their owner finds, are in every scope; a kind that is not known is in none.
 */
must_check int scope_check(struct store_tx *tx, const struct scope *scope, const char *owner, const char *kind,
	const char *id, struct rounds_error *error);

#endif
