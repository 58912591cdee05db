/* Of all bytes, only those that were sealed are opened, whatever the facts say of their number. */
#include "common/file.h"
#include "common/seal/content.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { PLAIN = 1000 };

static int memory_file(const void *bytes, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		abort();
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* The same for the seed as here: nothing in a content is random but its key. */
static void seal(const struct secret_key *key, struct content_facts *facts, uint8_t *sealed)
{
	uint8_t plain[PLAIN] = { 1, 2, 3 };
	scoped(file_close) int from = memory_file(plain, PLAIN), to = memory_file("", 0);
	struct rounds_error error;

	if (content_seal(key, from, to, facts, &error) ||
		pread(to, sealed, (size_t)facts->size, 0) != (ssize_t)facts->size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const struct secret_key key = { { 42 } };
	static uint8_t sealed[PLAIN + AEAD_TAG_SIZE];
	static struct content_facts whole;
	struct content_facts facts;
	scoped(file_close) int from = memory_file(bytes, size);
	struct rounds_error error;
	bool same, opened;

	if (whole.size == 0)
		seal(&key, &whole, sealed);
	facts = whole;
	same = size == sizeof(sealed) && !memcmp(bytes, sealed, size);
	opened = content_open(&key, &facts, from, -1, &error) == 0;
	if (opened != same)
		abort();
	facts.size = size;
	lseek(from, 0, SEEK_SET);
	if (content_open(&key, &facts, from, -1, &error) == 0 && !same)
		abort();
	return 0;
}
