/* Boosters that a site sends: whatever comes, an error with words, or a model that can be merged with itself. */
#include "common/tensors.h"
#include "server/aggregate/aggregate.h"
#include "server/aggregate/boosters.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const uint64_t shape[] = { size };
	const struct tensor_plan plan = { "booster", DTYPE_U8, 1, shape };
	scoped(file_close) int fd = memfd_create("booster", MFD_CLOEXEC);
	scoped(file_close) int out = memfd_create("merged", MFD_CLOEXEC);
	struct rounds_error error = { 0 };
	scoped(view_release) struct view booster = { 0 };
	scoped(view_release) struct view both = { 0 };
	struct aggregate_order order = { .aggregator = aggregator_find("boosters"), .model = &booster, .count = 2 };
	int into = out;
	struct sink sink = sink_of_descriptor(&into);
	uint8_t *header;
	size_t header_size;

	if (tensors_header(&plan, 1, NULL, &header, &header_size, &error) ||
		file_write_all(fd, header, header_size, &error) || file_write_all(fd, bytes, size, &error))
		abort();
	free(header);
	if (view_of_descriptor(fd, &booster, &error))
		abort();
	if (boosters_check(&booster, NULL, &error)) {
		if (!error.message[0] || error.kind == ERROR_NONE)
			abort();
		return 0;
	}
	order.inputs = (const struct aggregate_input[]){ { .view = booster }, { .view = booster } };
	if (!aggregate(&order, &sink, &error) &&
		(view_of_descriptor(out, &both, &error) || boosters_check(&both, &booster, &error)))
		abort();
	return 0;
}
