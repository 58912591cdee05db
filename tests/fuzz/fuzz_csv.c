/* A site's own table: damaged files are errors, not crashes. */
#include "client/trainers/dataset.h"
#include "common/file.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	scoped(dataset_free) struct dataset *dataset = NULL;
	scoped(file_close) int fd = memfd_create("table", MFD_CLOEXEC);
	json_auto_t *description = NULL;
	struct rounds_error error = { 0 };
	char path[64];

	if (fd < 0 || file_write_all(fd, bytes, size, &error))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	description = json_pack("{s:s, s:s, s:[s], s:{s:[s,s]}, s:[s,s]}", "path", path, "label", "y", "ignore", "id",
		"categories", "c", "p", "q", "classes", "0", "1");
	if (csv_load(description, dataset = calloc(1, sizeof(*dataset)), &error) && !error.message[0])
		abort();
	return 0;
}
