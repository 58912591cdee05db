/*
 * The sum of words modulo 2^32 (I32) or 2^64 (I64), whose signs are nobody's business: what is masked for secure aggregation
 * comes out right if all masks cancel (Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning,
 * CCS 2017). Weights do not count. The sum is the same in any order of inputs and with any number of threads.
 */
#include "server/aggregate/aggregators.h"
#include "server/aggregate/kernels.h"

#include "common/text.h"

#include <string.h>

enum { CHUNK = 4096 };

static void sum_32(const struct stretch *stretch)
{
	uint32_t sums[CHUNK], words[CHUNK];

	for (size_t at = 0; at < stretch->count; at += CHUNK) {
		size_t count = stretch->count - at < CHUNK ? stretch->count - at : CHUNK;

		memset(sums, 0, sizeof(sums));
		for (size_t i = 0; i < stretch->inputs_count; i++) {
			memcpy(words, stretch->inputs[i] + at * sizeof(*words), count * sizeof(*words));
			for (size_t j = 0; j < count; j++)
				sums[j] += words[j];
		}
		memcpy(stretch->output + at * sizeof(*sums), sums, count * sizeof(*sums));
	}
}

static void sum_64(const struct stretch *stretch)
{
	uint64_t sums[CHUNK], words[CHUNK];

	for (size_t at = 0; at < stretch->count; at += CHUNK) {
		size_t count = stretch->count - at < CHUNK ? stretch->count - at : CHUNK;

		memset(sums, 0, sizeof(sums));
		for (size_t i = 0; i < stretch->inputs_count; i++) {
			memcpy(words, stretch->inputs[i] + at * sizeof(*words), count * sizeof(*words));
			for (size_t j = 0; j < count; j++)
				sums[j] += words[j];
		}
		memcpy(stretch->output + at * sizeof(*sums), sums, count * sizeof(*sums));
	}
}

static int kernel_words(const struct stretch *stretch)
{
	if (stretch->dtype == DTYPE_I32)
		sum_32(stretch);
	else
		sum_64(stretch);
	return 0;
}

static int check_words(struct preparation *preparation, struct rounds_error *error)
{
	for (size_t i = 0; i < preparation->tensors->count; i++) {
		const struct tensor *tensor = &preparation->tensors->list[i];

		if (tensor->dtype == DTYPE_I32 || tensor->dtype == DTYPE_I64)
			continue;
		error_set(error, ERROR_UNPROCESSABLE,
			"tensor \"%.100s\" is %s; words are summed of I32 and I64 alone", tensor->name,
			dtype_name(tensor->dtype));
		text_print(error->field, sizeof(error->field), "%.150s", tensor->name);
		return -1;
	}
	return 0;
}

const struct aggregator aggregator_modular_sum = {
	.name = "modular_sum",
	.is_unlike_model = true,
	.prepare = check_words,
	.kernel = kernel_words,
};
