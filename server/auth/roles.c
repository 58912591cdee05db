#include "server/auth/roles.h"

#include "common/scope.h"

#include <string.h>

enum { ADMIN, VIEWER, SITE, ROLE_COUNT };

static const char *const roles[ROLE_COUNT] = { "admin", "viewer", ROLE_SITE };

/* A table is read by its columns. */
/* clang-format off */
static const struct {
	const char *name;
	bool may[ROLE_COUNT];
} permissions[PERMISSION_COUNT] = {
	/*                    name              admin  viewer site */
	[ANYONE]         = { "anyone",         { true,  true,  true } },
	[SELF]           = { "self",           { true,  true,  false } },
	[JOB_READ]       = { "job.read",       { true,  true,  false } },
	[JOB_WRITE]      = { "job.write",      { true,  false, false } },
	[SITE_READ]      = { "site.read",      { true,  true,  false } },
	[SITE_MANAGE]    = { "site.manage",    { true,  false, false } },
	[ACCOUNT_MANAGE] = { "account.manage", { true,  false, false } },
	[WEBHOOK_MANAGE] = { "webhook.manage", { true,  false, false } },
	[AUDIT_READ]     = { "audit.read",     { true,  false, false } },
	[TASK_DO]        = { "task.do",        { false, false, true } },
	[BLOB_READ]      = { "blob.read",      { true,  false, true } },
	[BLOB_WRITE]     = { "blob.write",     { true,  false, true } },
};
/* clang-format on */

static size_t index_of(const char *role)
{
	size_t i = 0;

	while (i < ROLE_COUNT && strcmp(roles[i], role) != 0)
		i++;
	return i;
}

bool role_may(const char *role, enum permission permission)
{
	size_t i = index_of(role);

	return i < ROLE_COUNT && permissions[permission].may[i];
}

bool role_covers(const char *role, const char *other)
{
	for (size_t i = 0; i < PERMISSION_COUNT; i++)
		if (role_may(other, (enum permission)i) && !role_may(role, (enum permission)i))
			return false;
	return true;
}

bool role_is_for_people(const char *role)
{
	return index_of(role) < SITE;
}

const char *permission_name(enum permission permission)
{
	return permissions[permission].name;
}

json_t *role_permissions(const char *role)
{
	json_t *names = json_array();

	for (size_t i = SELF; i < PERMISSION_COUNT; i++)
		if (role_may(role, (enum permission)i))
			json_array_append_new(names, json_string(permissions[i].name));
	return names;
}
