#include "client/trainers/own.h"

#include "common/text.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The round in `KIND-ROUND.safetensors`, or -1. */
static int64_t round_in(const char *name, const char *kind)
{
	size_t length = strlen(kind);
	char *end;
	long long round;

	if (strncmp(name, kind, length) != 0 || name[length] != '-')
		return -1;
	round = strtoll(name + length + 1, &end, 10);
	return strcmp(end, ".safetensors") ? -1 : round;
}

static int64_t newest_before(const char *path, const char *kind, int64_t round)
{
	DIR *directory = opendir(path);
	struct dirent *item;
	int64_t newest = -1;

	while (directory && (item = readdir(directory))) {
		int64_t found = round_in(item->d_name, kind);

		if (found < round && found > newest)
			newest = found;
	}
	if (directory)
		closedir(directory);
	return newest;
}

char *own_path(const char *directory, const char *kind, int64_t round)
{
	return text_new("%s/%s-%lld.safetensors", directory, kind, (long long)round);
}

char *own_find(const char *directory, const char *kind, int64_t round)
{
	int64_t newest = newest_before(directory, kind, round);

	return newest < 0 ? NULL : own_path(directory, kind, newest);
}

void own_trim(const char *path, const char *kind, int64_t round)
{
	int64_t needed = newest_before(path, kind, round);
	DIR *directory = opendir(path);
	struct dirent *item;

	while (directory && (item = readdir(directory))) {
		int64_t found = round_in(item->d_name, kind);

		if (found >= 0 && found < needed)
			(void)unlinkat(dirfd(directory), item->d_name, 0);
	}
	if (directory)
		closedir(directory);
}
