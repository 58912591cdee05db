#include "server/engine/past.h"

#include "common/json.h"
#include "server/store/jobs.h"
#include "server/store/tasks.h"

static const char *const nobody[] = { "" };

static struct sites find_sites(struct history *history)
{
	struct past *past = (struct past *)history;
	size_t count;

	if (!past->names) {
		if (job_sites(past->tx, past->job, &past->rows, past->error))
			goto failed;
		count = json_array_size(past->rows);
		past->names = calloc(count + 1, sizeof(char *));
		if (!past->names) {
			error_no_memory(past->error);
			goto failed;
		}
		for (size_t i = 0; i < count; i++)
			past->names[i] = json_text_or(json_array_get(past->rows, i), "site", "");
	}
	count = json_array_size(past->rows);
	if (count)
		return (struct sites){ past->names, count };
	error_set(past->error, ERROR_INTERNAL, "the job has no sites");
failed:
	past->failed = true;
	return (struct sites){ nobody, 1 };
}

static json_t *find_results(struct history *history, const char *kind, int64_t round)
{
	struct past *past = (struct past *)history;
	json_auto_t *tasks = NULL, *results = json_array();
	size_t i;
	json_t *task;

	if (task_list_results(past->tx, past->job, round, kind, &tasks, past->error)) {
		past->failed = true;
		return json_incref(results);
	}
	/* How far an update lies from its model stands in the answer that its site got. */
	json_array_foreach (tasks, i, task)
		json_array_append_new(results,
			json_pack("{s:O, s:O, s:O, s:f, s:O}", "site", json_object_get(task, "site"), "weight",
				json_object_get(task, "weight"), "metrics", json_object_get(task, "metrics"),
				"distance", json_number_or(json_object_get(task, "result"), "distance", 0), "files",
				json_object_get(task, "result_files")));
	if (json_array_size(results) != json_array_size(tasks)) {
		error_no_memory(past->error);
		past->failed = true;
	}
	return json_incref(results);
}

struct history *past_begin(struct past *past, struct store_tx *tx, const char *job, struct rounds_error *error)
{
	*past = (struct past){ .history = { find_sites, find_results }, .tx = tx, .job = job, .error = error };
	return &past->history;
}

void past_free(struct past past)
{
	free(past.names);
	json_decref(past.rows);
}
