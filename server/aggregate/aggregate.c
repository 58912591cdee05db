#include "server/aggregate/gram.h"
#include "server/aggregate/kernels.h"

#include "common/blas/one_thread.h"
#include "common/text.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Inner products are summed over this many parts of the files, whatever the number of threads: the same bits. */
enum { BLOCK = 2 * 1024 * 1024, THREADS_LIMIT = 64, PARTS = 8 };

struct aggregation {
	const struct aggregate_order *order;
	struct tensor_file *files; /* the inputs, then the model */
	double *given;             /* weights as they came */
	json_t *params;            /* given or default */
	bool has_model;
	struct preparation preparation;
	double *weights;         /* of the chosen inputs, last of the model where it counts */
	const struct sink *sink; /* where to write, or NULL */
	uint8_t *memory;         /* or into this */
	uint64_t header;         /* bytes before the first tensor in the output */
	uint64_t *blocks_before; /* of each tensor: blocks of all tensors before it */
	uint64_t blocks;
	double *sums; /* of each block, for the outliers; NULL: not wanted */
	double *gram; /* of each part while the inputs are looked at; NULL afterwards */
	atomic_uint_fast64_t next;
	atomic_bool failed;
	pthread_mutex_t lock; /* of the error */
	struct rounds_error *error;
};

/* What a thread works with. */
struct worker {
	const uint8_t **inputs, **chosen;
	uint8_t *buffer;
	struct gram_work products;
};

static bool same_tensor(const struct tensor *a, const struct tensor *b)
{
	return a->dtype == b->dtype && a->rank == b->rank && !memcmp(a->shape, b->shape, a->rank * sizeof(*a->shape));
}

static int differ(struct rounds_error *error, const char *name, size_t input)
{
	error_set(error, ERROR_UNPROCESSABLE, "tensor \"%.100s\" of input %zu is not like that of the first input",
		name, input + 1);
	text_print(error->field, sizeof(error->field), "%.150s", name);
	return -1;
}

static int check_alike(const struct aggregation *work, struct rounds_error *error)
{
	const struct tensors *first = work->files[0].tensors;

	for (size_t i = 1; i < work->order->count + work->has_model; i++) {
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

/* The first thread's failure is the whole's. */
static int check(struct aggregation *work, int failed, const struct rounds_error *error)
{
	if (!failed)
		return 0;
	pthread_mutex_lock(&work->lock);
	if (!atomic_exchange(&work->failed, true) && work->error)
		*work->error = *error;
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

/* One tensor's stretch in every input. */
struct block {
	enum dtype dtype;
	size_t count, size; /* elements, bytes */
	uint64_t to;        /* behind the header of the output */
	const uint8_t *model;
};

static struct block block_find(const struct aggregation *work, uint64_t number, const uint8_t **inputs)
{
	const struct tensors *first = work->files[0].tensors;
	size_t index = tensor_of_block(work, number);
	const struct tensor *tensor = &first->list[index];
	uint64_t begin = (number - work->blocks_before[index]) * BLOCK;
	size_t size = tensor->size - begin < BLOCK ? (size_t)(tensor->size - begin) : BLOCK;
	struct block block = { tensor->dtype, size / dtype_size(tensor->dtype), size,
		tensor->offset - first->header_size + begin, NULL };

	for (size_t i = 0; i < work->order->count + work->has_model; i++) {
		const uint8_t *bytes = work->files[i].view.bytes +
				       tensors_find(work->files[i].tensors, tensor->name)->offset + begin;

		if (i == work->order->count)
			block.model = bytes;
		else
			inputs[i] = bytes;
	}
	return block;
}

/* All that block_find finds will be read now. */
static int want_block(const struct aggregation *work, uint64_t number, struct rounds_error *error)
{
	const struct tensors *first = work->files[0].tensors;
	size_t index = tensor_of_block(work, number);
	const struct tensor *tensor = &first->list[index];
	uint64_t begin = (number - work->blocks_before[index]) * BLOCK;
	uint64_t end = tensor->size - begin < BLOCK ? tensor->size : begin + BLOCK;

	for (size_t i = 0; i < work->order->count + work->has_model; i++) {
		uint64_t at = tensors_find(work->files[i].tensors, tensor->name)->offset;

		if (view_want(&work->files[i].view, at + begin, at + end, error))
			return -1;
	}
	return 0;
}

static int do_block(struct aggregation *work, uint64_t number, const struct worker *worker)
{
	const struct preparation *prepared = &work->preparation;
	struct block block = block_find(work, number, worker->inputs);
	struct stretch stretch = { block.dtype, worker->chosen, work->weights, prepared->weights,
		prepared->chosen_count, prepared->trim, block.count,
		work->memory ? work->memory + block.to : worker->buffer };
	struct rounds_error error;

	if (check(work, want_block(work, number, &error), &error))
		return -1;
	for (size_t i = 0; i < prepared->chosen_count; i++)
		worker->chosen[i] = worker->inputs[prepared->chosen[i]];
	if (prepared->of_model != 0 && block.model)
		worker->chosen[stretch.inputs_count++] = block.model;
	if (work->order->aggregator->kernel(&stretch))
		return check(work, error_no_memory(&error), &error);
	if (work->sums && dtype_is_float(block.dtype))
		outlier_sums(block.dtype, worker->inputs, work->order->count, block.model, stretch.output,
			block.count, work->sums + number * (3 * work->order->count + 1));
	return work->memory
		       ? 0
		       : check(work,
				 sink_put(work->sink, worker->buffer, block.size, work->header + block.to, &error),
				 &error);
}

static int look_at_part(struct aggregation *work, uint64_t part, const struct worker *worker)
{
	double *gram = work->gram + part * work->order->count * work->order->count;

	for (uint64_t at = work->blocks * part / PARTS; at < work->blocks * (part + 1) / PARTS; at++) {
		struct block block = block_find(work, at, worker->inputs);
		struct rounds_error error;

		if (check(work, want_block(work, at, &error), &error))
			return -1;
		if (dtype_is_float(block.dtype))
			gram_add(&worker->products, block.dtype, worker->inputs, block.model, block.count, gram);
	}
	return 0;
}

static void *run(void *argument)
{
	struct aggregation *work = argument;
	size_t count = work->order->count;
	scoped(free) void *inputs = calloc(2 * count + 2, sizeof(uint8_t *));
	scoped(free) void *buffer = aligned_alloc(64, BLOCK);
	struct worker worker = { .inputs = inputs, .buffer = buffer };
	struct rounds_error error;
	uint64_t next, units = work->gram ? PARTS : work->blocks;

	if (!inputs || !buffer || (work->gram && gram_work_new(count, &worker.products, NULL))) {
		check(work, error_no_memory(&error), &error);
		gram_work_free(worker.products);
		return NULL;
	}
	worker.chosen = worker.inputs + count;
	while (!atomic_load(&work->failed) && (next = atomic_fetch_add(&work->next, 1)) < units)
		if (work->gram ? look_at_part(work, next, &worker) : do_block(work, next, &worker))
			break;
	gram_work_free(worker.products);
	return NULL;
}

static unsigned threads_of(const struct aggregation *work)
{
	unsigned threads = work->order->threads < THREADS_LIMIT ? work->order->threads : THREADS_LIMIT;

	if (!work->gram && threads > work->blocks)
		threads = (unsigned)work->blocks;
	return threads ? threads : 1;
}

static int run_threads(struct aggregation *work)
{
	pthread_t others[THREADS_LIMIT];
	unsigned started = 0, threads = threads_of(work);

	atomic_store(&work->next, 0);
	while (started + 1 < threads && !pthread_create(&others[started], NULL, run, work))
		started++;
	run(work);
	for (unsigned i = 0; i < started; i++)
		pthread_join(others[i], NULL);
	return atomic_load(&work->failed) ? -1 : 0;
}

static int open_inputs(struct aggregation *work, struct rounds_error *error)
{
	const struct aggregate_order *order = work->order;
	long double sum = 0;

	for (size_t i = 0; i < order->count; i++) {
		if (tensor_file_of(&order->inputs[i].view, &work->files[i], error))
			return error_prefix(error, "input %zu", i + 1);
		work->given[i] = order->inputs[i].weight;
		sum += (long double)order->inputs[i].weight;
	}
	for (size_t i = 0; i < order->count; i++) {
		work->preparation.weights[i] = (long double)order->inputs[i].weight / sum;
		work->preparation.chosen[i] = i;
	}
	if (order->model && tensor_file_of(order->model, &work->files[order->count], error))
		return error_prefix(error, "the model");
	work->has_model = order->model != NULL;
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

/* The pass over all inputs that finds how they lie to one another. */
static int look_at_all(struct aggregation *work, struct rounds_error *error)
{
	size_t places = work->order->count * work->order->count;

	work->gram = calloc(PARTS * places, sizeof(double));
	if (!work->gram)
		return error_no_memory(error);
	if (run_threads(work))
		return -1;
	for (size_t part = 1; part < PARTS; part++)
		for (size_t i = 0; i < places; i++)
			work->gram[i] += work->gram[part * places + i];
	work->preparation.gram = work->gram;
	return 0;
}

static int prepare(struct aggregation *work, struct rounds_error *error)
{
	const struct aggregator *aggregator = work->order->aggregator;
	struct preparation *preparation = &work->preparation;

	preparation->params = work->params;
	preparation->given = work->given;
	preparation->count = preparation->chosen_count = work->order->count;
	if (aggregator->needs_gram && look_at_all(work, error))
		return -1;
	if (aggregator->prepare && aggregator->prepare(preparation, error))
		return -1;
	free(work->gram);
	work->gram = NULL;
	preparation->weights[preparation->chosen_count] = preparation->of_model;
	for (size_t i = 0; i <= preparation->chosen_count; i++)
		work->weights[i] = (double)preparation->weights[i];
	return 0;
}

/* Block after block, so that the number of threads does not show. */
static void sum_outliers(struct aggregation *work)
{
	size_t count = work->order->count;
	double whole = 0;

	for (uint64_t block = 0; block < work->blocks; block++)
		whole += work->sums[block * (3 * count + 1) + 3 * count];
	for (size_t i = 0; i < count; i++) {
		double apart = 0, inner = 0, norm = 0;

		for (uint64_t block = 0; block < work->blocks; block++) {
			const double *sums = work->sums + block * (3 * count + 1) + 3 * i;

			apart += sums[0];
			inner += sums[1];
			norm += sums[2];
		}
		work->order->outliers[i] = (struct outlier){ sqrt(apart),
			norm > 0 && whole > 0 ? inner / sqrt(norm * whole) : (double)NAN };
	}
}

static bool says(const struct tensors *tensors, const json_t *metadata)
{
	return tensors->metadata ? json_equal(tensors->metadata, metadata) : json_object_size(metadata) == 0;
}

/* The output's tensors lie as the first input's; what it says of itself is the model's to say, not a site's. */
static int write_header(struct aggregation *work, struct rounds_error *error)
{
	const struct tensors *first = work->files[0].tensors;
	const json_t *metadata = work->order->metadata;
	scoped(free) void *room = calloc(first->count + 1, sizeof(struct tensor_plan));
	struct tensor_plan *plan = room;
	uint8_t *header = NULL;
	size_t size;
	int failed;

	work->header = first->header_size;
	if (!metadata || says(first, metadata))
		return sink_put(work->sink, work->files[0].view.bytes, (size_t)work->header, 0, error);
	if (!plan)
		return error_no_memory(error);
	for (size_t i = 0; i < first->count; i++)
		plan[i] = (struct tensor_plan){ first->list[i].name, first->list[i].dtype, first->list[i].rank,
			first->list[i].shape };
	if (tensors_header(plan, first->count, json_object_size(metadata) ? metadata : NULL, &header, &size, error))
		return -1;
	work->header = size;
	failed = sink_put(work->sink, header, size, 0, error);
	free(header);
	return failed;
}

static int make(struct aggregation *work, struct rounds_error *error)
{
	if (open_inputs(work, error) || count_blocks(work, error) || prepare(work, error))
		return -1;
	if (work->order->outliers) {
		work->sums = calloc(work->blocks * (3 * work->order->count + 1) + 1, sizeof(double));
		if (!work->sums)
			return error_no_memory(error);
	}
	if (work->sink && write_header(work, error))
		return -1;
	if (run_threads(work))
		return -1;
	if (work->sums)
		sum_outliers(work);
	return 0;
}

static int with_inputs(struct aggregation *work, struct rounds_error *error)
{
	size_t count = work->order->count;
	int failed;

	blas_use_one_thread(); /* the threads are ours */
	if (count == 0)
		return error_set(error, ERROR_INVALID, "there is nothing to aggregate");
	work->files = calloc(count + 1, sizeof(*work->files));
	work->given = calloc(count, sizeof(double));
	work->weights = calloc(count + 1, sizeof(double));
	work->preparation.weights = calloc(count + 1, sizeof(long double));
	work->preparation.chosen = calloc(count, sizeof(size_t));
	work->params = fields_pick(work->order->aggregator->params, work->order->params);
	work->error = error;
	pthread_mutex_init(&work->lock, NULL);
	failed = work->files && work->given && work->params && work->weights && work->preparation.weights &&
				 work->preparation.chosen
			 ? make(work, error)
			 : error_no_memory(error);
	for (size_t i = 0; work->files && i <= count; i++)
		tensor_file_close(work->files[i]);
	pthread_mutex_destroy(&work->lock);
	free(work->files);
	free(work->given);
	json_decref(work->params);
	free(work->weights);
	free(work->preparation.weights);
	free(work->preparation.chosen);
	free(work->blocks_before);
	free(work->sums);
	free(work->gram);
	return failed;
}

int aggregate(const struct aggregate_order *order, const struct sink *output, struct rounds_error *error)
{
	struct aggregation work = { .order = order, .sink = output };

	if (order->aggregator->make)
		return order->aggregator->make(order, output, error);
	return with_inputs(&work, error);
}

int aggregate_to_memory(const struct aggregate_order *order, uint8_t *output, struct rounds_error *error)
{
	struct aggregation work = { .order = order, .memory = output };

	return with_inputs(&work, error);
}

bool aggregator_needs_model(const struct aggregator *aggregator)
{
	return aggregator->needs_model || aggregator->needs_gram;
}
