#include "client/site/spool.h"

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

char *spool_update_path(struct spool *spool, const char *task)
{
	return entry_path(spool, task, "safetensors");
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

int spool_put(struct spool *spool, const json_t *entry, const char *update_path, struct rounds_error *error)
{
	scoped(text_free) char *path = spool_update_path(spool, json_text_or(entry, "task", ""));

	if (!path)
		return error_no_memory(error);
	if (update_path && rename(update_path, path))
		return error_errno(error, "cannot keep the update");
	return spool_update(spool, entry, error);
}

bool spool_check(struct spool *spool, const json_t *entry)
{
	scoped(text_free) char *path = spool_update_path(spool, json_text_or(entry, "task", ""));
	scoped(file_close) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	const char *text = json_text_or(entry, "update", NULL);
	struct digest wanted, actual;
	struct rounds_error error;
	struct stat status;

	if (!text)
		return true;
	return digest_parse(text, &wanted) && fd >= 0 && !fstat(fd, &status) &&
	       !digest_file(fd, (uint64_t)status.st_size, &actual, &error) && digest_equal(&wanted, &actual);
}

void spool_remove(struct spool *spool, const char *task)
{
	scoped(text_free) char *update = spool_update_path(spool, task);
	scoped(text_free) char *entry = entry_path(spool, task, "json");

	if (entry)
		unlink(entry);
	if (update)
		unlink(update);
}

json_t *spool_find(struct spool *spool, const char *task)
{
	scoped(text_free) char *path = entry_path(spool, task, "json");
	json_t *entry = NULL;
	struct rounds_error error;

	if (!path || access(path, F_OK) || json_parse_file(path, &entry, &error))
		return NULL;
	return entry;
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
