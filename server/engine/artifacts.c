/*
 * The files of tasks, from the workflow that issues them to the result that brings others. What a site may read, and what is
 * done with what it brought, follows from their names alone; no other file knows what they are called.
 */
#include "server/engine/internal.h"

#include "common/artifact.h"
#include "common/json.h"
#include "server/store/blob_index.h"
#include "server/store/tasks.h"

#include <string.h>

int files_issue(struct store_tx *tx, const char *job, int64_t round, const json_t *planned, json_t **files,
	struct rounds_error *error)
{
	json_auto_t *issued = json_object();
	const char *name;
	json_t *digest;

	json_object_foreach ((json_t *)(uintptr_t)planned, name, digest) {
		struct artifact file = { .name = name, .digest = json_string_value(digest) };
		json_auto_t *blob = NULL;

		if (!file.digest || !artifact_name_is_valid(name))
			return error_set(error, ERROR_INTERNAL, "a workflow named a file that cannot be one");
		if (blob_index_find(tx, file.digest, &blob, error))
			return -1;
		if (!blob)
			return error_set(
				error, ERROR_INTERNAL, "the file \"%s\" of a task is not there any more", name);
		file.size = json_integer_or(blob, "size", -1);
		if (blob_use(tx, job, file.digest, "task", round, error))
			return -1;
		if (artifact_put(issued, &file))
			return error_no_memory(error);
	}
	*files = json_incref(issued);
	return 0;
}

int site_may_read(struct store_tx *tx, const char *site, const char *digest, bool *may, struct rounds_error *error)
{
	json_auto_t *tasks = NULL;
	size_t i;
	json_t *task;

	*may = false;
	if (task_list_files(tx, site, &tasks, error))
		return -1;
	json_array_foreach (tasks, i, task)
		*may = *may || artifacts_name(json_object_get(task, "files"), digest);
	return 0;
}

bool output_next(const struct workflow *workflow, const char *task, size_t *at, struct output *output)
{
	const struct output usual[] = {
		{ "initialize", "update", workflow->updates },
		{ "train", "update", workflow->updates },
		{ NULL },
	};

	for (const struct output *list = workflow->outputs ? workflow->outputs : usual; list[*at].task;) {
		*output = list[(*at)++];
		if (!strcmp(output->task, task))
			return true;
	}
	return false;
}
