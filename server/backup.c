#include "server/backup.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/text.h"
#include "server/blobs/blobs.h"
#include "server/store/blob_index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK     "original"
#define CONTENTS "backup.json" /* written last: a backup without it is not whole */

enum { KEY_FILE_LIMIT = 1 << 20, VERSION = 1 };

/* What lies beside the database and the weights and belongs to this directory alone, or to nobody. */
static const char *const left_out[] = { MARK, CONTENTS, "lock", "removal.lock", "rounds.db", "rounds.db-wal",
	"rounds.db-shm" };

static bool is_left_out(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(left_out); i++)
		if (!strcmp(left_out[i], name))
			return true;
	return strstr(name, ".new-") != NULL;
}

static int copy_file(const char *from, const char *to, const char *name, struct rounds_error *error)
{
	scoped(text_free) char *source = text_new("%s/%s", from, name);
	scoped(text_free) char *target = text_new("%s/%s", to, name);
	scoped(text_free) char *bytes = NULL;
	struct stat status;
	size_t size;

	if (!source || !target)
		return error_no_memory(error);
	if (lstat(source, &status) || !S_ISREG(status.st_mode))
		return 0;
	return file_read(source, KEY_FILE_LIMIT, &bytes, &size, error) ||
			       file_replace(target, bytes, size, status.st_mode & 0777, error)
		       ? -1
		       : 0;
}

/* Keys, certificates, and whatever else the server keeps in small files at the top. */
static int copy_files(const char *from, const char *to, struct rounds_error *error)
{
	DIR *folder = opendir(from);
	struct dirent *entry;
	int failed = 0;

	if (!folder)
		return error_errno(error, "cannot read %s", from);
	while (!failed && (entry = readdir(folder)))
		if (!is_left_out(entry->d_name))
			failed = copy_file(from, to, entry->d_name, error);
	closedir(folder);
	return failed;
}

static int list_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return blob_index_list(tx, argument, error);
}

/* The blobs that the copied database names. */
static int copy_blobs(const char *from, const char *to, struct backup_report *report, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/rounds.db", to);
	scoped(store_close) struct store *store = NULL;
	json_auto_t *blobs = NULL;
	size_t i;
	json_t *blob;

	if (!path)
		return error_no_memory(error);
	if (store_open(path, world_real(), &store, error) || store_read(store, list_in, &blobs, error))
		return -1;
	json_array_foreach (blobs, i, blob) {
		struct digest digest;
		uint64_t size;

		if (!digest_parse(json_text_or(blob, "digest", ""), &digest))
			return error_set(error, ERROR_INTERNAL, "the index names a blob without a digest");
		if (blob_copy(from, to, &digest, &size, error))
			return -1;
		report->blobs++;
		report->bytes += size;
	}
	return 0;
}

static int make_empty(const char *path, struct rounds_error *error)
{
	DIR *folder;
	struct dirent *entry;
	bool empty = true;

	if (directory_make(path, 0700, error))
		return -1;
	folder = opendir(path);
	if (!folder)
		return error_errno(error, "cannot read %s", path);
	while ((entry = readdir(folder)))
		empty &= !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	closedir(folder);
	return empty ? 0
		     : error_set(
			       error, ERROR_CONFLICT, "%s is not empty: name a directory that does not exist", path);
}

static int copy_database(const char *from, const char *to, struct rounds_error *error)
{
	scoped(text_free) char *source = text_new("%s/rounds.db", from);
	scoped(text_free) char *target = text_new("%s/rounds.db", to);

	return source && target ? store_copy(source, target, error) : error_no_memory(error);
}

static int copy_all(const char *from, const char *to, struct backup_report *report, struct rounds_error *error)
{
	*report = (struct backup_report){ 0 };
	return make_empty(to, error) || copy_files(from, to, error) || copy_database(from, to, error) ||
			       copy_blobs(from, to, report, error)
		       ? -1
		       : 0;
}

static int put_text(const char *directory, const char *name, const char *text, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/%s", directory, name);

	if (!path || !text)
		return error_no_memory(error);
	return file_replace(path, text, strlen(text), 0600, error);
}

int backup_make(const char *directory, const char *to, struct backup_report *report, struct rounds_error *error)
{
	scoped(file_close) int lock = -1;
	scoped(text_free) char *contents = NULL;
	json_auto_t *said = NULL;
	char now[TIME_TEXT_SIZE];

	time_format(clock_wall_us(), now);
	if (blobs_keep_all(directory, &lock, error) || copy_all(directory, to, report, error))
		return -1;
	said = json_pack("{s:i, s:s, s:s, s:I, s:I}", "backup", VERSION, "time", now, "version", ROUNDS_VERSION,
		"blobs", (json_int_t)report->blobs, "bytes", (json_int_t)report->bytes);
	contents = said ? json_dumps(said, JSON_INDENT(2)) : NULL;
	return put_text(to, CONTENTS, contents, error);
}

int backup_restore(const char *from, const char *directory, struct backup_report *report, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/" CONTENTS, from);
	json_auto_t *contents = NULL;

	if (!path)
		return error_no_memory(error);
	if (json_parse_file(path, &contents, error))
		return error_prefix(error, "%s is no whole backup", from);
	if (json_integer_or(contents, "backup", 0) != VERSION)
		return error_set(error, ERROR_UPGRADE, "%s was made by another version of rounds-server", from);
	/* The mark first: also a restore that is cut off leaves a copy. */
	if (make_empty(directory, error) || copy_files(from, directory, error) ||
		put_text(directory, MARK, "restored from a backup\n", error))
		return -1;
	*report = (struct backup_report){ 0 };
	return copy_database(from, directory, error) || copy_blobs(from, directory, report, error) ? -1 : 0;
}

/* What a mark says of itself, from the file that it is in; where birth is not known, the inode alone. */
static int mark_of(int fd, char text[80], struct rounds_error *error)
{
	struct statx status;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &status))
		return error_errno(error, "cannot look at the mark of the data directory");
	if (!(status.stx_mask & STATX_BTIME))
		status.stx_btime = (struct statx_timestamp){ 0 };
	snprintf(text, 80, "inode %llu born %lld.%09u\n", (unsigned long long)status.stx_ino,
		(long long)status.stx_btime.tv_sec, status.stx_btime.tv_nsec);
	return 0;
}

/* A new file that tells its own inode. */
static int mark_put(const char *directory, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/" MARK, directory);
	scoped(text_free) char *fresh = text_new("%s/" MARK ".new-0", directory);
	scoped(file_close) int fd = -1;
	char text[80];

	if (!path || !fresh)
		return error_no_memory(error);
	unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(error, "cannot mark the data directory");
	if (mark_of(fd, text, error) || file_write_all(fd, text, strlen(text), error))
		return -1;
	if (fsync(fd) || rename(fresh, path))
		return error_errno(error, "cannot mark the data directory");
	return directory_sync(directory, error);
}

int backup_is_copy(const char *directory, bool original_is_gone, bool *is_copy, struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/" MARK, directory);
	scoped(file_close) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char is[80] = "", should[80];

	*is_copy = false;
	if (!path)
		return error_no_memory(error);
	if (fd < 0 && errno != ENOENT)
		return error_errno(error, "cannot open %s", path);
	if (fd < 0 || original_is_gone)
		return mark_put(directory, error);
	if (read(fd, is, sizeof(is) - 1) < 0)
		return error_errno(error, "cannot read %s", path);
	if (mark_of(fd, should, error))
		return -1;
	*is_copy = strcmp(is, should) != 0;
	return 0;
}
