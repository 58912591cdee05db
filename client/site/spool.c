#include "client/site/spool.h"

#include "common/artifact.h"
#include "common/digest.h"
#include "common/fields.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct spool {
	char *directory;
};

static char *entry_path(const struct spool *spool, const char *task, const char *ending)
{
	return text_new("%s/%s.%s", spool->directory, task, ending);
}

int spool_open(const char *directory, struct spool **out, struct rounds_error *error)
{
	scoped(spool_free) struct spool *spool = calloc(1, sizeof(*spool));

	if (!spool || !(spool->directory = strdup(directory)))
		return error_no_memory(error);
	if (directory_make(directory, 0700, error))
		return -1;
	*out = spool;
	spool = NULL;
	return 0;
}

void spool_free(struct spool *spool)
{
	if (!spool)
		return;
	free(spool->directory);
	free(spool);
}

char *spool_file_path(struct spool *spool, const char *task, const char *name)
{
	return text_new("%s/%s.files/%s", spool->directory, task, name);
}

int spool_update(struct spool *spool, const json_t *entry, struct rounds_error *error)
{
	scoped(text_free) char *path = entry_path(spool, json_text_or(entry, "task", ""), "json");
	scoped(text_free) char *fresh = entry_path(spool, json_text_or(entry, "task", ""), "new");
	scoped(text_free) char *text = json_canonical(entry);
	scoped(file_close) int fd = fresh ? open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

	if (!path || !fresh || !text)
		return error_no_memory(error);
	if (fd < 0)
		return error_errno(error, "cannot create %s", fresh);
	if (file_write_all(fd, text, strlen(text), error))
		return -1;
	return rename(fresh, path) ? error_errno(error, "cannot name %s", path) : 0;
}

int spool_put(struct spool *spool, const json_t *entry, const json_t *paths, struct rounds_error *error)
{
	const char *task = json_text_or(entry, "task", ""), *name;
	scoped(text_free) char *directory = entry_path(spool, task, "files");
	json_t *from;

	if (!directory)
		return error_no_memory(error);
	if (json_object_size(paths) > 0 && directory_make(directory, 0700, error))
		return -1;
	json_object_foreach ((json_t *)(uintptr_t)paths, name, from) {
		scoped(text_free) char *to = spool_file_path(spool, task, name);

		if (!to)
			return error_no_memory(error);
		if (rename(json_string_value(from), to))
			return error_errno(error, "cannot keep a file of the result");
	}
	return spool_update(spool, entry, error);
}

static bool check_file(struct spool *spool, const char *task, const char *name, const json_t *file)
{
	scoped(text_free) char *path = artifact_name_is_valid(name) ? spool_file_path(spool, task, name) : NULL;
	scoped(file_close) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct digest wanted, actual;
	struct rounds_error error;
	struct stat status;

	return digest_parse(json_text_or(file, "digest", ""), &wanted) && fd >= 0 && !fstat(fd, &status) &&
	       !digest_file(fd, (uint64_t)status.st_size, &actual, &error) && digest_equal(&wanted, &actual);
}

bool spool_check(struct spool *spool, const json_t *entry)
{
	const char *name;
	json_t *file;

	json_object_foreach (json_object_get(entry, "files"), name, file)
		if (!check_file(spool, json_text_or(entry, "task", ""), name, file))
			return false;
	return true;
}

void spool_remove(struct spool *spool, const char *task)
{
	scoped(text_free) char *files = entry_path(spool, task, "files");
	scoped(text_free) char *entry = entry_path(spool, task, "json");

	if (entry)
		unlink(entry);
	if (files)
		directory_remove(files);
}

/* Before there were files by name there was one update, or none. */
static int take_over(struct spool *spool, json_t *entry, struct rounds_error *error)
{
	const char *task = json_text_or(entry, "task", ""), *update = json_text_or(entry, "update", NULL);
	struct artifact file = { .name = "update", .digest = update, .size = -1 };
	scoped(text_free) char *path = entry_path(spool, task, "safetensors");
	json_auto_t *files = json_object(), *paths = json_object();
	struct stat status;

	if (!path)
		return error_no_memory(error);
	if (update && stat(path, &status) == 0) {
		file.size = (int64_t)status.st_size;
		json_object_set_new(paths, "update", json_text(path));
	}
	if ((update && artifact_put(files, &file)) || json_object_set(entry, "files", files))
		return error_no_memory(error);
	json_object_del(entry, "update");
	return spool_put(spool, entry, paths, error);
}

json_t *spool_find(struct spool *spool, const char *task)
{
	scoped(text_free) char *path = entry_path(spool, task, "json");
	json_auto_t *entry = NULL;
	struct rounds_error error;

	if (!path || access(path, F_OK) || json_parse_file(path, &entry, &error))
		return NULL;
	if (!json_object_get(entry, "files") && !strcmp(json_text_or(entry, "task", ""), task) &&
		take_over(spool, entry, &error))
		log_warn("a result that an earlier version kept cannot be taken over", "task", task, "reason",
			error.message, NULL);
	return json_incref(entry);
}

static int by_task(const void *a, const void *b)
{
	return strcmp(json_text_or(*(json_t *const *)a, "task", ""), json_text_or(*(json_t *const *)b, "task", ""));
}

/* Task ids sort by time, so sorting by task is sorting by age. */
static json_t *sorted(const json_t *list)
{
	size_t count = json_array_size(list);
	json_t **items = calloc(count + 1, sizeof(json_t *));
	json_t *result = json_array();

	for (size_t i = 0; items && i < count; i++)
		items[i] = json_array_get(list, i);
	if (items)
		qsort(items, count, sizeof(json_t *), by_task);
	for (size_t i = 0; items && i < count; i++)
		json_array_append(result, items[i]);
	free(items);
	return result;
}

json_t *spool_list(struct spool *spool)
{
	DIR *directory = opendir(spool->directory);
	json_auto_t *list = json_array();
	struct dirent *item;

	while (directory && (item = readdir(directory))) {
		const char *dot = strrchr(item->d_name, '.');
		json_auto_t *entry = NULL;
		char task[80];

		if (!dot || strcmp(dot, ".json") != 0)
			continue;
		snprintf(task, sizeof(task), "%.*s", (int)(dot - item->d_name), item->d_name);
		entry = name_is_valid(task) ? spool_find(spool, task) : NULL;
		if (entry && !strcmp(json_text_or(entry, "task", ""), task)) /* it becomes a path again */
			json_array_append(list, entry);
		else
			log_warn("a kept result cannot be read", "task", task, NULL);
	}
	if (directory)
		closedir(directory);
	return sorted(list);
}
