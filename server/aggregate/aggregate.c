#include "server/aggregate/aggregate.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 2 * 1024 * 1024, THREADS_LIMIT = 64 };

static const struct aggregator *const aggregators[] = { &aggregator_weighted_mean };

const struct aggregator *aggregator_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(aggregators); i++)
		if (name && !strcmp(aggregators[i]->name, name))
			return aggregators[i];
	return NULL;
}

struct aggregation {
	const struct aggregator *aggregator;
	struct tensor_file *files;
	double *weights, *given;
	size_t count;
	int fd;                               /* where to write, or -1 */
	uint8_t *memory;                      /* or into this */
	uint64_t header;                      /* bytes before the first tensor in the output */
	uint64_t first_block, *blocks_before; /* of each tensor: blocks of all tensors before it */
	uint64_t blocks;
	atomic_uint_fast64_t next;
	atomic_bool failed;
	pthread_mutex_t lock; /* of the error */
	struct rounds_error *error;
};

static bool same_tensor(const struct tensor *a, const struct tensor *b)
{
	return a->dtype == b->dtype && a->rank == b->rank && !memcmp(a->shape, b->shape, a->rank * sizeof(*a->shape));
}

static int differ(struct rounds_error *error, const char *name, size_t input)
{
	error_set(error, ERROR_UNPROCESSABLE, "tensor \"%.100s\" of input %zu is not like that of the first input",
		name, input + 1);
	snprintf(error->field, sizeof(error->field), "%.150s", name);
	return -1;
}

static int check_alike(const struct aggregation *work, struct rounds_error *error)
{
	const struct tensors *first = work->files[0].tensors;

	for (size_t i = 1; i < work->count; i++) {
		if (work->files[i].tensors->count != first->count)
			return error_set(error, ERROR_UNPROCESSABLE, "input %zu has %zu tensors, the first has %zu",
				i + 1, work->files[i].tensors->count, first->count);
		for (size_t j = 0; j < first->count; j++) {
			const struct tensor *other = tensors_find(work->files[i].tensors, first->list[j].name);

			if (!other || !same_tensor(&first->list[j], other))
				return differ(error, first->list[j].name, i);
		}
	}
	return 0;
}

static int fail(struct aggregation *work, const char *what)
{
	pthread_mutex_lock(&work->lock);
	if (!atomic_exchange(&work->failed, true))
		error_errno(work->error, "%s", what);
	pthread_mutex_unlock(&work->lock);
	return -1;
}

/* Which tensor a block belongs to: the last whose blocks begin at or before it. */
static size_t tensor_of_block(const struct aggregation *work, uint64_t block)
{
	size_t low = 0, high = work->files[0].tensors->count;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (work->blocks_before[middle] <= block)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static int do_block(struct aggregation *work, uint64_t block, const uint8_t **inputs, uint8_t *buffer)
{
	const struct tensors *first = work->files[0].tensors;
	size_t index = tensor_of_block(work, block);
	const struct tensor *tensor = &first->list[index];
	uint64_t begin = (block - work->blocks_before[index]) * BLOCK;
	size_t size = tensor->size - begin < BLOCK ? (size_t)(tensor->size - begin) : BLOCK;
	uint64_t to = tensor->offset - first->header_size + begin;
	struct stretch stretch = { tensor->dtype, inputs, work->weights, work->given, work->count,
		size / dtype_size(tensor->dtype), work->memory ? work->memory + to : buffer };

	for (size_t i = 0; i < work->count; i++)
		inputs[i] = work->files[i].view.bytes + tensors_find(work->files[i].tensors, tensor->name)->offset +
			    begin;
	work->aggregator->kernel(&stretch);
	if (!work->memory && file_pwrite_all(work->fd, buffer, size, work->header + to, NULL))
		return fail(work, "cannot write the aggregate");
	return 0;
}

static void *run(void *argument)
{
	struct aggregation *work = argument;
	scoped(free) void *inputs = calloc(work->count, sizeof(uint8_t *));
	scoped(free) void *buffer = aligned_alloc(64, BLOCK);
	uint64_t block;

	if (!inputs || !buffer) {
		fail(work, "out of memory");
		return NULL;
	}
	while (!atomic_load(&work->failed) && (block = atomic_fetch_add(&work->next, 1)) < work->blocks)
		if (do_block(work, block, inputs, buffer))
			break;
	return NULL;
}

static void run_threads(struct aggregation *work, unsigned threads)
{
	pthread_t others[THREADS_LIMIT];
	unsigned started = 0;

	if (threads > work->blocks)
		threads = (unsigned)work->blocks;
	while (started + 1 < threads && started < THREADS_LIMIT && !pthread_create(&others[started], NULL, run, work))
		started++;
	run(work);
	for (unsigned i = 0; i < started; i++)
		pthread_join(others[i], NULL);
}

static int open_inputs(struct aggregation *work, const struct aggregate_input *inputs, struct rounds_error *error)
{
	double sum = 0;

	for (size_t i = 0; i < work->count; i++) {
		if (tensor_file_open(inputs[i].path, &work->files[i], error))
			return error_prefix(error, "input %zu", i + 1);
		work->given[i] = inputs[i].weight;
		sum += inputs[i].weight;
	}
	for (size_t i = 0; i < work->count; i++)
		work->weights[i] = inputs[i].weight / sum;
	return check_alike(work, error);
}

static int count_blocks(struct aggregation *work, struct rounds_error *error)
{
	const struct tensors *first = work->files[0].tensors;

	work->blocks_before = calloc(first->count + 1, sizeof(uint64_t));
	if (!work->blocks_before)
		return error_no_memory(error);
	for (size_t i = 0; i < first->count; i++) {
		work->blocks_before[i] = work->blocks;
		work->blocks += (first->list[i].size + BLOCK - 1) / BLOCK;
	}
	return 0;
}

static int aggregate(
	struct aggregation *work, const struct aggregate_input *inputs, unsigned threads, struct rounds_error *error)
{
	if (open_inputs(work, inputs, error) || count_blocks(work, error))
		return -1;
	if (work->fd >= 0) {
		work->header = work->files[0].tensors->header_size;
		if (file_pwrite_all(work->fd, work->files[0].view.bytes, (size_t)work->header, 0, error))
			return -1;
	}
	run_threads(work, threads);
	return atomic_load(&work->failed) ? -1 : 0;
}

static int with_inputs(
	struct aggregation *work, const struct aggregate_input *inputs, unsigned threads, struct rounds_error *error)
{
	int failed;

	if (work->count == 0)
		return error_set(error, ERROR_INVALID, "there is nothing to aggregate");
	work->files = calloc(work->count, sizeof(*work->files));
	work->weights = calloc(2 * work->count, sizeof(double));
	work->given = work->weights ? work->weights + work->count : NULL;
	work->error = error;
	pthread_mutex_init(&work->lock, NULL);
	failed = work->files && work->weights ? aggregate(work, inputs, threads, error) : error_no_memory(error);
	for (size_t i = 0; work->files && i < work->count; i++)
		tensor_file_close(work->files[i]);
	pthread_mutex_destroy(&work->lock);
	free(work->files);
	free(work->weights);
	free(work->blocks_before);
	return failed;
}

int aggregate_files(const struct aggregator *aggregator, const struct aggregate_input *inputs, size_t count,
	unsigned threads, const char *output_path, struct rounds_error *error)
{
	scoped(file_close) int fd = open(output_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct aggregation work = { .aggregator = aggregator, .count = count, .fd = fd };

	if (fd < 0)
		return error_errno(error, "cannot create %s", output_path);
	if (!with_inputs(&work, inputs, threads, error))
		return 0;
	unlink(output_path);
	return -1;
}

int aggregate_to_memory(const struct aggregator *aggregator, const struct aggregate_input *inputs, size_t count,
	unsigned threads, uint8_t *output, struct rounds_error *error)
{
	struct aggregation work = { .aggregator = aggregator, .count = count, .fd = -1, .memory = output };

	return with_inputs(&work, inputs, threads, error);
}

void weights_cap(double *weights, size_t count, double share)
{
	for (size_t pass = 0; pass < count; pass++) {
		double greatest = 0, rest = 0;
		size_t capped = 0;

		for (size_t i = 0; i < count; i++)
			greatest = weights[i] > greatest ? weights[i] : greatest;
		for (size_t i = 0; i < count; i++)
			capped += weights[i] == greatest;
		for (size_t i = 0; i < count; i++)
			rest += weights[i] == greatest ? 0 : weights[i];
		if (capped == count || greatest <= share * (rest + (double)capped * greatest))
			return;
		/* Where the capped ones together may have all, the next greatest decides: they become equal to it. */
		double level = share * (double)capped < 1 ? share * rest / (1 - share * (double)capped) : 0;
		double next = 0;
		for (size_t i = 0; i < count; i++)
			if (weights[i] < greatest && weights[i] > next)
				next = weights[i];
		if (level < next)
			level = next;
		for (size_t i = 0; i < count; i++)
			if (weights[i] == greatest)
				weights[i] = level;
	}
}
