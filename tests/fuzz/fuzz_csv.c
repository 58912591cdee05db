/* A site's own table: damaged files are errors, not crashes. */
#include "client/trainers/dataset.h"
#include "common/file.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* What a site may say of the table: nothing, much, and what is not so. */
static const char *const settings[] = {
	"{}",
	"{\"ignore\": [\"id\"], \"categories\": {\"c\": [\"p\", \"q\"]}, \"classes\": [\"0\", \"1\"]}",
	"{\"decimal\": \",\", \"encoding\": \"windows-1252\"}",
	"{\"delimiter\": \";\", \"encoding\": \"UTF-16\"}",
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	scoped(file_close) int fd = memfd_create("table", MFD_CLOEXEC);
	struct rounds_error error = { 0 };
	char path[64];

	if (fd < 0 || file_write_all(fd, bytes, size, &error))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		scoped(dataset_free) struct dataset *dataset = NULL;
		json_auto_t *description = json_loads(settings[i], 0, NULL);

		json_object_set_new(description, "path", json_string(path));
		json_object_set_new(description, "label", json_string("y"));
		error = (struct rounds_error){ 0 };
		if (dataset_load(description, &dataset, &error) && !error.message[0])
			abort();
	}
	return 0;
}
