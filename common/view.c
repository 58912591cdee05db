#include "common/view.h"

#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

/* A kernel that does not know the call brings the pages in as they are touched. */
static int mapped_want(const struct view *view, uint64_t from, uint64_t to, struct rounds_error *error)
{
	from -= from % PAGE;
	if (!madvise((void *)(uintptr_t)(view->bytes + from), (size_t)(to - from), MADV_POPULATE_READ) ||
		errno == EINVAL)
		return 0;
	return error_set(error, errno == ENOMEM ? ERROR_NO_MEMORY : ERROR_IO, "cannot read stored weights");
}

static void mapped_release(struct view view)
{
	munmap((void *)(uintptr_t)view.bytes, view.size);
}

int view_want(const struct view *view, uint64_t from, uint64_t to, struct rounds_error *error)
{
	if (to > view->size)
		to = view->size;
	return view->want && from < to ? view->want(view, from, to, error) : 0;
}

void view_release(struct view view)
{
	if (view.release)
		view.release(view);
}

struct view view_borrow(const struct view *view)
{
	struct view borrowed = *view;

	borrowed.release = NULL;
	return borrowed;
}

int view_of_descriptor(int fd, struct view *view, struct rounds_error *error)
{
	struct stat status;
	void *bytes;

	*view = (struct view){ 0 };
	if (fstat(fd, &status))
		return error_errno(error, "cannot look at a file");
	if (status.st_size == 0)
		return 0;
	bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return error_errno(error, "cannot map a file");
	*view = (struct view){ bytes, (size_t)status.st_size, mapped_want, mapped_release };
	return 0;
}

int view_of_file(const char *path, struct view *view, struct rounds_error *error)
{
	scoped(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(error, "cannot open %s", path);
	return view_of_descriptor(fd, view, error) ? error_prefix(error, "%s", path) : 0;
}

int sink_put(const struct sink *sink, const void *bytes, size_t size, uint64_t at, struct rounds_error *error)
{
	return sink->put(sink->context, bytes, size, at, error);
}

static int descriptor_put(void *context, const void *bytes, size_t size, uint64_t at, struct rounds_error *error)
{
	return file_pwrite_all(*(int *)context, bytes, size, at, error);
}

struct sink sink_of_descriptor(int *fd)
{
	return (struct sink){ descriptor_put, fd };
}
