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

/* One pass: the total, and the file that was used longest ago. */
static uint64_t look(DIR *directory, char *oldest, size_t size)
{
	struct timespec used = { 0 };
	struct dirent *item;
	uint64_t total = 0;
	time_t young = time(NULL) - 60;

	oldest[0] = '\0';
	rewinddir(directory);
	while ((item = readdir(directory))) {
		struct stat status;

		if (item->d_name[0] == '.' || fstatat(dirfd(directory), item->d_name, &status, AT_SYMLINK_NOFOLLOW))
			continue;
		total += (uint64_t)status.st_size;
		if (status.st_mtim.tv_sec > young || (oldest[0] && status.st_mtim.tv_sec >= used.tv_sec))
			continue;
		used = status.st_mtim;
		snprintf(oldest, size, "%s", item->d_name);
	}
	return total;
}

void cache_trim(const char *path, uint64_t bytes)
{
	DIR *directory = opendir(path);
	char oldest[256];

	if (!directory)
		return;
	while (look(directory, oldest, sizeof(oldest)) > bytes && oldest[0])
		if (unlinkat(dirfd(directory), oldest, 0))
			break;
	closedir(directory);
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
