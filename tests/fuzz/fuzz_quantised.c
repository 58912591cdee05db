/* Files in 8-bit blocks: whatever comes, an error with words, or floats of the tensors that they mean. */
#include "common/quantised.h"
#include "server/aggregate/source.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	enum { ROOM = 1000 };
	const struct view view = { bytes, size, NULL, NULL };
	scoped(source_close) struct source source = { 0 };
	struct rounds_error error = { 0 };
	float room[ROOM];

	if (source_open(&view, &encoding_quantised, &source, &error)) {
		if (!error.message[0] || error.kind == ERROR_NONE)
			abort();
		return 0;
	}
	for (size_t i = 0; i < source.tensors->count; i++) {
		const struct tensor *tensor = &source.tensors->list[i];

		for (uint64_t at = 0; at < tensor->count; at += ROOM) {
			size_t count = tensor->count - at < ROOM ? (size_t)(tensor->count - at) : ROOM;
			const uint8_t *values;

			if (source.want(&source, tensor, at, count, &error))
				abort();
			values = source.load(&source, tensor, at, count, room);
			if (source.needs_room(&source, tensor) != (values == (const uint8_t *)room))
				abort();
			(void)*(volatile const uint8_t *)(values + count * dtype_size(source_dtype(tensor->dtype)) -
							  1);
		}
	}
	return 0;
}
