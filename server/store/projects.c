#include "server/store/projects.h"

#include "common/json.h"
#include "server/store/blob_index.h"
#include "server/store/db.h"

#include <string.h>

const struct scope scope_all = { NULL };

/* Each kind that a path names; a test holds the routes against this table. */
static const struct {
	const char *kind;
	const char *projects; /* those that the object is in; NULL: it is not a project's */
	int (*owned)(struct store_tx *tx, const char *id, const char *owner, bool *owned, struct rounds_error *error);
} objects[] = {
	{ "job", "SELECT project FROM job WHERE id = ?1" },
	{ "task", "SELECT project FROM job WHERE id = (SELECT job FROM task WHERE id = ?1)" },
	{ "verification", "SELECT project FROM job WHERE id = (SELECT job FROM verification WHERE id = ?1)" },
	{ "digest", "SELECT DISTINCT project FROM job WHERE id IN (SELECT job FROM blob_use WHERE digest = ?1)",
		.owned = blob_index_owned },
	{ "upload" },
	{ "site" },
	{ "invitation" },
	{ "token" },
	{ "webhook" },
	{ "user" },
	{ "file" },
};

bool scope_is_all(const struct scope *scope)
{
	return scope && !scope->projects;
}

bool scope_holds(const struct scope *scope, const char *project)
{
	size_t i;
	json_t *name;

	if (!scope || !scope->projects)
		return scope_is_all(scope);
	json_array_foreach (scope->projects, i, name)
		if (!strcmp(json_string_value(name), project))
			return true;
	return false;
}

/* In the words of whoever looks for one that is not there. */
static int missing(const char *kind, const char *id, struct rounds_error *error)
{
	if (!strcmp(kind, "job") || !strcmp(kind, "task"))
		return error_set(error, ERROR_NOT_FOUND, "there is no %s %.64s", kind, id);
	return error_set(error, ERROR_NOT_FOUND, "there is no such %s", strcmp(kind, "digest") ? kind : "blob");
}

int scope_check(struct store_tx *tx, const struct scope *scope, const char *owner, const char *kind, const char *id,
	struct rounds_error *error)
{
	json_auto_t *rows = NULL;
	bool owned = false;
	size_t at = 0, i;
	json_t *row;

	while (at < ARRAY_SIZE(objects) && strcmp(objects[at].kind, kind) != 0)
		at++;
	if (at == ARRAY_SIZE(objects))
		return missing(kind, id, error);
	if (!objects[at].projects)
		return 0;
	if (db_rows(tx, error, &rows, objects[at].projects, "s", id))
		return -1;
	json_array_foreach (rows, i, row)
		if (scope_holds(scope, json_text_or(row, "project", "")))
			return 0;
	if (objects[at].owned && objects[at].owned(tx, id, owner, &owned, error))
		return -1;
	return owned ? 0 : missing(kind, id, error);
}
