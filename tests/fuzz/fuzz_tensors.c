/* The parser of weights: whatever comes, no crash, no read outside, and an error with words or tensors that lie inside. */
#include "common/tensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct tensors *tensors = NULL;
	struct rounds_error error = { 0 };
	double value;

	if (tensors_parse(bytes, size, size, &tensors, &error)) {
		if (!error.message[0] || error.kind == ERROR_NONE)
			abort();
		return 0;
	}
	for (size_t i = 0; i < tensors->count; i++) {
		const struct tensor *tensor = &tensors->list[i];

		if (tensor->offset + tensor->size > size || tensors_find(tensors, tensor->name) != tensor)
			abort();
		if (tensor->count > 0) {
			dtype_load(tensor->dtype, bytes + tensor->offset, 1, &value);
			dtype_load(tensor->dtype, bytes + tensor->offset + tensor->size - dtype_size(tensor->dtype),
				1, &value);
		}
	}
	json_decref(tensors_describe(tensors));
	tensors_free(tensors);
	return 0;
}
