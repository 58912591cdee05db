#include "client/site/cache.h"

#include "common/file.h"
#include "common/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

char *cache_path(const char *directory, const struct digest *digest)
{
	char text[DIGEST_TEXT_SIZE];

	digest_format(digest, text);
	return text_new("%s/%s", directory, text + 7);
}

/* A file is named by its digest's digits; one that is half fetched has an ending behind them. */
static bool is_in_use(const char *file, const json_t *in_use)
{
	size_t i;
	json_t *digest;

	json_array_foreach (in_use, i, digest) {
		const char *digits = strchr(json_string_value(digest), ':');

		if (digits && !strncmp(file, digits + 1, strlen(digits + 1)))
			return true;
	}
	return false;
}

/* One pass: the total, and the file that was used longest ago and is not in use. */
static uint64_t look(DIR *directory, const json_t *in_use, char *oldest, size_t size)
{
	struct timespec used = { 0 };
	struct dirent *item;
	uint64_t total = 0;

	oldest[0] = '\0';
	rewinddir(directory);
	while ((item = readdir(directory))) {
		struct stat status;

		if (item->d_name[0] == '.' || fstatat(dirfd(directory), item->d_name, &status, AT_SYMLINK_NOFOLLOW))
			continue;
		total += (uint64_t)status.st_size;
		if (is_in_use(item->d_name, in_use) || (oldest[0] && status.st_mtim.tv_sec >= used.tv_sec))
			continue;
		used = status.st_mtim;
		snprintf(oldest, size, "%s", item->d_name);
	}
	return total;
}

uint64_t cache_trim(const char *path, uint64_t bytes, const json_t *in_use)
{
	DIR *directory = opendir(path);
	char oldest[256];
	uint64_t left;

	if (!directory)
		return 0;
	while ((left = look(directory, in_use, oldest, sizeof(oldest))) > bytes && oldest[0])
		if (unlinkat(dirfd(directory), oldest, 0))
			break;
	closedir(directory);
	return left;
}

void own_forget(const char *path, int64_t days)
{
	DIR *directory = opendir(path);
	time_t oldest = time(NULL) - (time_t)(days * 24 * 3600);
	struct dirent *item;

	while (directory && (item = readdir(directory))) {
		scoped(text_free) char *folder = text_new("%s/%s", path, item->d_name);
		struct stat status;

		if (item->d_name[0] != '.' && folder && !stat(folder, &status) && status.st_mtim.tv_sec < oldest)
			directory_remove(folder);
	}
	if (directory)
		closedir(directory);
}
