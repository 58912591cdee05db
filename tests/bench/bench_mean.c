/*
 * The weighted mean of COUNT files of SIZE megabytes, beside what limits it, in one run:
 *
 *     bench_mean DIRECTORY COUNT MEGABYTES THREADS [AGGREGATOR [int8_blocks]]
 *
 * a STREAM triad (McCalpin) on as many threads, cblas_saxpy update by update in memory, and the mean from files in the
 * page cache into memory ready to be written. The best of several passes each; gigabytes of input a second, as JSON. Inputs in 8-bit blocks are smaller; their figure counts what they mean, as if it were float32.
 */
#include "common/clock.h"
#include "common/json.h"
#include "common/quantised.h"
#include "server/aggregate/aggregate.h"
#include "server/aggregate/source.h"

#include <cblas.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PASSES = 7 };

static int fail(const struct rounds_error *error)
{
	fprintf(stderr, "bench_mean: %s\n", error->message);
	return 1;
}

static float *memory(size_t bytes)
{
	float *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		exit(1);
	madvise(room, bytes, MADV_HUGEPAGE);
	memset(room, 0, bytes);
	return room;
}

struct triad {
	double *a;
	const double *b, *c;
	size_t count;
};

static void *triad(void *argument)
{
	const struct triad part = *(struct triad *)argument;
	double *restrict a = part.a;

	for (size_t i = 0; i < part.count; i++)
		a[i] = part.b[i] + 3.0 * part.c[i];
	return NULL;
}

/* Bytes a second as STREAM counts them: two reads and a write of each element. */
static double triad_rate(unsigned threads)
{
	size_t count = 32u << 20;
	double *a = (double *)memory(count * 8), *b = (double *)memory(count * 8), *c = (double *)memory(count * 8);
	double best = 0;

	for (size_t i = 0; i < count; i++)
		b[i] = c[i] = (double)i;
	for (int pass = 0; pass < PASSES; pass++) {
		pthread_t others[64];
		struct triad parts[64];
		int64_t begun = clock_steady_us();

		for (unsigned i = 0; i < threads; i++) {
			size_t from = count * i / threads, to = count * (i + 1) / threads;

			parts[i] = (struct triad){ a + from, b + from, c + from, to - from };
			if (pthread_create(&others[i], NULL, triad, &parts[i]))
				exit(1);
		}
		for (unsigned i = 0; i < threads; i++)
			pthread_join(others[i], NULL);
		double rate = 24.0 * (double)count / (double)(clock_steady_us() - begun) / 1e3;
		best = rate > best ? rate : best;
	}
	munmap(a, count * 8);
	munmap(b, count * 8);
	munmap(c, count * 8);
	return best;
}

static int make_input(const char *path, size_t elements, bool quantised, int seed, struct rounds_error *error)
{
	const uint64_t shape[] = { elements }, blocks[] = { (elements + QUANTISED_BLOCK - 1) / QUANTISED_BLOCK };
	const struct tensor_plan plan[] = { { "w", quantised ? DTYPE_I8 : DTYPE_F32, 1, shape },
		{ "w" QUANTISED_SCALES, DTYPE_F32, 1, blocks } };
	json_auto_t *metadata = quantised ? json_pack("{s:s}", ENCODING_KEY, QUANTISED_ENCODING) : NULL;
	size_t floats = quantised ? elements / sizeof(float) + blocks[0] : elements;
	scoped(file_close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint8_t *header;
	size_t size;
	enum { BLOCK = 2 << 20 }; /* as the server writes what is uploaded */
	float *block = malloc(BLOCK);
	uint32_t random = (uint32_t)seed;
	int failed = 0;

	if (!block || fd < 0 || tensors_header(plan, quantised ? 2 : 1, metadata, &header, &size, error))
		return error_errno(error, "cannot create %s", path);
	memcpy(block, header, size);
	free(header);
	for (size_t done = 0, at = size / sizeof(float); !failed && done < floats; at = 0) {
		size_t room = BLOCK / sizeof(float) - at, now = floats - done < room ? floats - done : room;

		for (size_t i = 0; i < now; i++)
			block[at + i] = (float)(random = random * 1664525u + 1013904223u) / 4e9f - 0.5f;
		failed = file_write_all(fd, block, (at + now) * sizeof(float), error);
		done += now;
	}
	free(block);
	return failed;
}

static double saxpy_rate(size_t count, size_t elements, unsigned threads)
{
	float **updates = calloc(count, sizeof(float *)), *result = memory(elements * 4);
	double best = 0;

	openblas_set_num_threads((int)threads);
	for (size_t i = 0; i < count; i++) {
		updates[i] = memory(elements * 4);
		for (size_t j = 0; j < elements; j++)
			updates[i][j] = (float)j;
	}
	for (int pass = 0; pass < PASSES; pass++) {
		int64_t begun = clock_steady_us();

		memset(result, 0, elements * 4);
		for (size_t i = 0; i < count; i++)
			cblas_saxpy((blasint)elements, 1.0f / (float)count, updates[i], 1, result, 1);
		double rate = 4.0 * (double)(count * elements) / (double)(clock_steady_us() - begun) / 1e3;
		best = rate > best ? rate : best;
	}
	for (size_t i = 0; i < count; i++)
		munmap(updates[i], elements * 4);
	munmap(result, elements * 4);
	free(updates);
	return best;
}

static double own_memory(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[200];
	long kilobytes = 0;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %ld", &kilobytes) == 1)
			break;
	if (file)
		fclose(file);
	return (double)kilobytes / 1024;
}

int main(int argc, char **argv)
{
	size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0,
	       megabytes = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	unsigned threads = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
	size_t elements = megabytes * 250000;
	bool quantised = argc > 6 && !strcmp(argv[6], QUANTISED_ENCODING);
	struct aggregate_input inputs[64];
	struct rounds_error error = { 0 };
	double to_memory = 0, to_file = 0, held = 0;
	char paths[65][400];

	if (count < 1 || count > 64 || !megabytes || !threads || threads > 64) {
		fputs("usage: bench_mean DIRECTORY COUNT MEGABYTES THREADS [AGGREGATOR [int8_blocks]]\n", stderr);
		return 2;
	}
	for (size_t i = 0; i <= count; i++)
		snprintf(paths[i], sizeof(paths[i]), "%s/input-%zu", argv[1], i);
	for (size_t i = 0; i < count; i++) {
		inputs[i] = (struct aggregate_input){ .weight = 1.0 + (double)i,
			.encoding = quantised ? &encoding_quantised : NULL };
		if (make_input(paths[i], elements, quantised, (int)i + 1, &error) ||
			view_of_file(paths[i], &inputs[i].view, &error))
			return fail(&error);
	}
	struct aggregate_order order = { .aggregator = aggregator_find(argc > 5 ? argv[5] : "weighted_mean"),
		.inputs = inputs,
		.count = count,
		.threads = threads };
	uint8_t *output = (uint8_t *)memory(elements * 4);
	double before = own_memory();
	for (int pass = 0; pass < PASSES; pass++) {
		int64_t begun = clock_steady_us();

		if (aggregate_to_memory(&order, output, &error))
			return fail(&error);
		double rate = 4.0 * (double)(count * elements) / (double)(clock_steady_us() - begun) / 1e3;
		to_memory = rate > to_memory ? rate : to_memory;
	}
	held = own_memory() - before;
	for (int pass = 0; pass < 3; pass++) {
		int64_t begun = clock_steady_us();

		int fd = open(paths[count], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		struct sink sink = sink_of_descriptor(&fd);

		if (aggregate(&order, &sink, &error))
			return fail(&error);
		file_close(fd);
		double rate = 4.0 * (double)(count * elements) / (double)(clock_steady_us() - begun) / 1e3;
		to_file = rate > to_file ? rate : to_file;
	}
	munmap(output, elements * 4);
	for (size_t i = 0; i <= count; i++)
		unlink(paths[i]);
	printf("{\"mean\": %.2f, \"mean_to_file\": %.2f, \"own_mb\": %.1f", to_memory, to_file, held);
	if (argc <= 5)
		printf(", \"triad\": %.2f, \"saxpy\": %.2f", triad_rate(threads),
			saxpy_rate(count, elements, threads));
	puts("}");
	return 0;
}
