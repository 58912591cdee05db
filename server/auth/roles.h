/* What each role may do: one table (roles.c), looked at by the guard before any handler runs. */
#ifndef ROUNDS_SERVER_AUTH_ROLES_H
#define ROUNDS_SERVER_AUTH_ROLES_H

#include <jansson.h>
#include <stdbool.h>

enum permission {
	ANYONE, /* no credentials needed */
	SELF,   /* whoever is known: their own session and password */
	JOB_READ,
	JOB_WRITE, /* submit, change, abort, delete; upload models */
	SITE_READ,
	SITE_MANAGE, /* invite, drain, remove */
	ACCOUNT_MANAGE,
	WEBHOOK_MANAGE,
	AUDIT_READ,
	TASK_DO,    /* sites alone */
	BLOB_READ,  /* people who may write jobs; a site, for the models of its tasks */
	BLOB_WRITE, /* people who may write jobs; sites, for their updates */
	PERMISSION_COUNT
};

#define ROLE_SITE "site" /* what a client certificate gives; not a role for people */

bool role_may(const char *role, enum permission permission);
/* Whether people and tokens can have it. */
/* Whether whoever has `role` may all that `other` may. */
bool role_covers(const char *role, const char *other);
bool role_is_for_people(const char *role);
/* "job.read" */
const char *permission_name(enum permission permission);
/* The names of what a role may: a new reference. */
json_t *role_permissions(const char *role);

#endif
