#include "server/aggregate/gram.h"
#include "server/aggregate/kernels.h"
#include "server/aggregate/source.h"

#include "common/blas/one_thread.h"
#include "common/text.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Inner products are summed over this many parts of the files, whatever the number of threads: the same bits. */
enum { BLOCK = 2 * 1024 * 1024, THREADS_LIMIT = 64, PARTS = 8 };

/*
 * Where elements must be widened or multiplied out, a block is worked off in chunks whose room stays in the processor's cache.
 * A chunk is a multiple of what the sums of gram.c take at a time, so that their bits do not depend on it.
 */
enum { ROOM = 256 * 1024, CHUNK_LEAST = 512 };

struct aggregation {
	const struct aggregate_order *order;
	struct source *sources; /* the inputs, then the model */
	double *given;          /* weights as they came */
	json_t *params;         /* given or default */
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

/* What a thread works with. All but the buffer have a place for each source. */
struct worker {
	const struct tensor **tensors;    /* the block's, as each source knows it */
	const uint8_t **inputs, **chosen; /* the chunk's elements */
	float *room;                      /* `chunk` elements each */
	size_t chunk;
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

static size_t sources_count(const struct aggregation *work)
{
	return work->order->count + work->has_model;
}

static int check_alike(const struct aggregation *work, struct rounds_error *error)
{
	const struct tensors *first = work->sources[0].tensors;

	for (size_t i = 1; i < sources_count(work); i++) {
		if (work->sources[i].tensors->count != first->count)
			return error_set(error, ERROR_UNPROCESSABLE, "input %zu has %zu tensors, the first has %zu",
				i + 1, work->sources[i].tensors->count, first->count);
		for (size_t j = 0; j < first->count; j++) {
			const struct tensor *other = tensors_find(work->sources[i].tensors, first->list[j].name);

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
	size_t low = 0, high = work->sources[0].tensors->count;

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
	uint64_t from; /* its first element */
	size_t count;  /* elements */
	size_t chunk;  /* as many are loaded at a time */
	uint64_t to;   /* behind the header of the output, in bytes */
};

/* Finds the block in every source; all of it will be read now. */
static int block_begin(struct aggregation *work, uint64_t number, const struct worker *worker, struct block *block)
{
	const struct tensors *first = work->sources[0].tensors;
	size_t index = tensor_of_block(work, number);
	const struct tensor *tensor = &first->list[index];
	uint64_t begin = (number - work->blocks_before[index]) * BLOCK;
	size_t size = tensor->size - begin < BLOCK ? (size_t)(tensor->size - begin) : BLOCK;
	size_t width = dtype_size(tensor->dtype);
	struct rounds_error error;

	*block = (struct block){ tensor->dtype, begin / width, size / width, size / width,
		tensor->offset - first->header_size + begin };
	for (size_t i = 0; i < sources_count(work); i++) {
		const struct source *source = &work->sources[i];

		worker->tensors[i] = tensors_find(source->tensors, tensor->name);
		if (source->needs_room(source, worker->tensors[i]) && block->chunk > worker->chunk)
			block->chunk = worker->chunk;
		if (check(work, source->want(source, worker->tensors[i], block->from, block->count, &error), &error))
			return -1;
	}
	return 0;
}

/* Gives the model's elements; NULL if there is none. */
static const uint8_t *load_chunk(
	const struct aggregation *work, const struct worker *worker, uint64_t from, size_t count)
{
	for (size_t i = 0; i < sources_count(work); i++) {
		const struct source *source = &work->sources[i];

		worker->inputs[i] = source->load(
			source, worker->tensors[i], from, count, worker->room + i * worker->chunk);
	}
	return work->has_model ? worker->inputs[work->order->count] : NULL;
}

static int do_chunk(struct aggregation *work, const struct worker *worker, const struct block *block, size_t at,
	size_t count, uint8_t *output, double *sums)
{
	const struct preparation *prepared = &work->preparation;
	const uint8_t *model = load_chunk(work, worker, block->from + at, count);
	struct stretch stretch = { block->dtype, source_dtype(block->dtype), worker->chosen, work->weights,
		prepared->weights, prepared->chosen_count, prepared->trim, count, output };
	struct rounds_error error;

	for (size_t i = 0; i < prepared->chosen_count; i++)
		worker->chosen[i] = worker->inputs[prepared->chosen[i]];
	if (prepared->of_model != 0 && model)
		worker->chosen[stretch.inputs_count++] = model;
	if (work->order->aggregator->kernel(&stretch))
		return check(work, error_no_memory(&error), &error);
	if (sums && dtype_is_float(block->dtype))
		outlier_sums(&stretch, worker->inputs, work->order->count, model, sums);
	return 0;
}

static int do_block(struct aggregation *work, uint64_t number, const struct worker *worker)
{
	double *sums = work->sums ? work->sums + number * (3 * work->order->count + 1) : NULL;
	struct rounds_error error;
	struct block block;
	uint8_t *output;
	size_t width;

	if (block_begin(work, number, worker, &block))
		return -1;
	output = work->memory ? work->memory + block.to : worker->buffer;
	width = dtype_size(block.dtype);
	for (size_t at = 0; at < block.count; at += block.chunk) {
		size_t count = block.count - at < block.chunk ? block.count - at : block.chunk;

		if (do_chunk(work, worker, &block, at, count, output + at * width, sums))
			return -1;
	}
	return work->memory
		       ? 0
		       : check(work,
				 sink_put(work->sink, output, block.count * width, work->header + block.to, &error),
				 &error);
}

static int look_at_part(struct aggregation *work, uint64_t part, const struct worker *worker)
{
	double *gram = work->gram + part * work->order->count * work->order->count;

	for (uint64_t number = work->blocks * part / PARTS; number < work->blocks * (part + 1) / PARTS; number++) {
		struct block block;

		if (block_begin(work, number, worker, &block))
			return -1;
		for (size_t at = 0; dtype_is_float(block.dtype) && at < block.count; at += block.chunk) {
			size_t count = block.count - at < block.chunk ? block.count - at : block.chunk;
			const uint8_t *model = load_chunk(work, worker, block.from + at, count);

			gram_add(&worker->products, source_dtype(block.dtype), worker->inputs, model, count, gram);
		}
	}
	return 0;
}

/* How many elements of each source a worker has room for. */
static size_t chunk_of(const struct aggregation *work)
{
	size_t least = work->gram ? GRAM_COLUMNS : CHUNK_LEAST, fits = ROOM / sizeof(float) / sources_count(work);

	return fits < least ? least : fits - fits % least;
}

static void *run(void *argument)
{
	struct aggregation *work = argument;
	size_t count = sources_count(work);
	scoped(free) void *tensors = calloc(count, sizeof(struct tensor *));
	scoped(free) void *inputs = calloc(2 * count, sizeof(uint8_t *));
	scoped(free) void *room = aligned_alloc(64, count * chunk_of(work) * sizeof(float));
	scoped(free) void *buffer = aligned_alloc(64, BLOCK);
	struct worker worker = {
		.tensors = tensors, .inputs = inputs, .room = room, .chunk = chunk_of(work), .buffer = buffer
	};
	struct rounds_error error;
	uint64_t next, units = work->gram ? PARTS : work->blocks;

	if (!tensors || !inputs || !room || !buffer ||
		(work->gram && gram_work_new(work->order->count, &worker.products, NULL))) {
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
		const struct aggregate_input *input = &order->inputs[i];

		if (source_open(&input->view, input->encoding, &work->sources[i], error))
			return error_prefix(error, "input %zu", i + 1);
		work->given[i] = input->weight;
		sum += (long double)input->weight;
	}
	for (size_t i = 0; i < order->count; i++) {
		work->preparation.weights[i] = (long double)order->inputs[i].weight / sum;
		work->preparation.chosen[i] = i;
	}
	if (order->model && source_open(order->model, NULL, &work->sources[order->count], error))
		return error_prefix(error, "the model");
	work->has_model = order->model != NULL;
	return check_alike(work, error);
}

static int count_blocks(struct aggregation *work, struct rounds_error *error)
{
	const struct tensors *first = work->sources[0].tensors;

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
	preparation->tensors = work->sources[0].tensors;
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
	const struct tensors *first = work->sources[0].tensors;
	const json_t *metadata = work->order->metadata;
	scoped(free) void *room = calloc(first->count + 1, sizeof(struct tensor_plan));
	struct tensor_plan *plan = room;
	uint8_t *header = NULL;
	size_t size;
	int failed;

	work->header = first->header_size;
	if (first == work->sources[0].file.tensors && (!metadata || says(first, metadata)))
		return sink_put(work->sink, work->sources[0].file.view.bytes, (size_t)work->header, 0, error);
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
	work->sources = calloc(count + 1, sizeof(*work->sources));
	work->given = calloc(count, sizeof(double));
	work->weights = calloc(count + 1, sizeof(double));
	work->preparation.weights = calloc(count + 1, sizeof(long double));
	work->preparation.chosen = calloc(count, sizeof(size_t));
	work->params = fields_pick(work->order->aggregator->params, work->order->params);
	work->error = error;
	pthread_mutex_init(&work->lock, NULL);
	failed = work->sources && work->given && work->params && work->weights && work->preparation.weights &&
				 work->preparation.chosen
			 ? make(work, error)
			 : error_no_memory(error);
	for (size_t i = 0; work->sources && i <= count; i++)
		source_close(work->sources[i]);
	pthread_mutex_destroy(&work->lock);
	free(work->sources);
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
