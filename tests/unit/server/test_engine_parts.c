/* Weights, aggregation and the check of updates, without a server. */
#include "tests/unit/test.h"

#include "server/aggregate/aggregate.h"
#include "server/aggregate/update_check.h"

#include <fcntl.h>
#include <math.h>

static double sum(const double *weights, size_t count)
{
	double total = 0;

	for (size_t i = 0; i < count; i++)
		total += weights[i];
	return total;
}

static void no_weight_is_more_than_its_share(void **state)
{
	double one[] = { 1e12, 1, 1 }, fair[] = { 3, 2, 1 }, many[] = { 100, 90, 1, 1, 1 }, few[] = { 5, 1 };

	weights_cap(one, 3, 0.5);
	assert_true(fabs(one[0] / sum(one, 3) - 0.5) < 1e-12 && one[1] == 1);
	weights_cap(fair, 3, 0.5);
	assert_true(fair[0] == 3 && fair[1] == 2 && fair[2] == 1);
	weights_cap(many, 5, 0.3);
	for (int i = 0; i < 5; i++)
		assert_true(many[i] / sum(many, 5) <= 0.3 + 1e-12);
	assert_true(many[4] == 1);
	weights_cap(few, 2, 0.1); /* not possible with two: they become equal */
	assert_true(few[0] == few[1]);
}

/* A file of one float32 tensor. */
static void weights_file(const char *path, const char *name, size_t count, const float *values)
{
	const uint64_t shape[] = { count };
	const struct tensor_plan plan = { name, DTYPE_F32, 1, shape };
	struct rounds_error error;
	uint8_t *header, *all;
	size_t size;

	assert_int_equal(tensors_header(&plan, 1, NULL, &header, &size, &error), 0);
	all = malloc(size + count * sizeof(float));
	memcpy(all, header, size);
	memcpy(all + size, values, count * sizeof(float));
	write_file(path, all, size + count * sizeof(float));
	free(header);
	free(all);
}

static struct aggregate_input input_of(const char *path, double weight)
{
	struct aggregate_input input = { .weight = weight };
	struct rounds_error error;

	assert_int_equal(view_of_file(path, &input.view, &error), 0);
	return input;
}

/* Into the file at `path`. */
static int mean_of(const struct aggregate_input *inputs, size_t count, unsigned threads, const char *path,
	struct rounds_error *error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct sink sink = sink_of_descriptor(&fd);
	int failed = aggregate(&(struct aggregate_order){ .aggregator = aggregator_find("weighted_mean"),
				       .inputs = inputs,
				       .count = count,
				       .threads = threads },
		&sink, error);

	close(fd);
	return failed;
}

static void a_mean_is_the_same_with_any_threads(void **state)
{
	enum { COUNT = 500001 };
	float *values = malloc(COUNT * sizeof(float));
	struct aggregate_input inputs[3];
	struct rounds_error error = { 0 };
	char *first, *other;
	size_t size;
	uint32_t random = 1;

	for (int i = 0; i < 3; i++) {
		for (size_t j = 0; j < COUNT; j++)
			values[j] = (float)((random = random * 1664525u + 1013904223u) / 1e6 - 2000);
		weights_file(in(state, (const char *[]){ "a", "b", "c" }[i]), "w", COUNT, values);
	}
	free(values);
	for (int i = 0; i < 3; i++)
		inputs[i] = input_of(in(state, (const char *[]){ "a", "b", "c" }[i]), 1.0 + i);
	for (unsigned threads = 1; threads <= 5; threads += 2) {
		assert_int_equal(mean_of(inputs, 3, threads, in(state, "out"), &error), 0);
		assert_int_equal(file_read(in(state, "out"), 10 << 20, &other, &size, &error), 0);
		if (threads == 1)
			first = other;
		else
			assert_memory_equal(first, other, size);
		if (threads != 1)
			free(other);
	}
	free(first);
	for (int i = 0; i < 3; i++)
		view_release(inputs[i].view);
}

/* Whatever the processor's vectors do, each element is the plain sum in double, in order. */
static void every_element_is_the_plain_sum(void **state)
{
	enum { COUNT = 64 * 5 + 32 + 3 };
	float values[3][COUNT], *result;
	double weights[] = { 0.2, 0.5, 0.3 };
	struct aggregate_input inputs[3];
	struct rounds_error error = { 0 };
	uint32_t random = 7;

	for (int i = 0; i < 3; i++) {
		for (size_t j = 0; j < COUNT; j++)
			values[i][j] = (float)((random = random * 1664525u + 1013904223u) / 1e6 - 2000) /
				       (float)(j + 1);
		weights_file(in(state, (const char *[]){ "a", "b", "c" }[i]), "w", COUNT, values[i]);
	}
	for (int i = 0; i < 3; i++)
		inputs[i] = input_of(in(state, (const char *[]){ "a", "b", "c" }[i]), weights[i]);
	result = malloc(COUNT * sizeof(float));
	assert_int_equal(
		aggregate_to_memory(&(struct aggregate_order){ .aggregator = aggregator_find("weighted_mean"),
					    .inputs = inputs,
					    .count = 3,
					    .threads = 1 },
			(uint8_t *)(void *)result, &error),
		0);
	double total = weights[0] + weights[1] + weights[2];
	for (size_t j = 0; j < COUNT; j++) {
		double sum = 0;

		for (int i = 0; i < 3; i++)
			sum += weights[i] / total * (double)values[i][j];
		assert_true(result[j] == (float)sum);
	}
	for (int i = 0; i < 3; i++)
		view_release(inputs[i].view);
	free(result);
}

static void unlike_inputs_are_refused(void **state)
{
	const float values[] = { 1, 2, 3, 4 };
	struct rounds_error error = { 0 };
	struct aggregate_input inputs[2];

	weights_file(in(state, "a"), "w", 4, values);
	weights_file(in(state, "b"), "w", 3, values);
	weights_file(in(state, "c"), "v", 4, values);
	inputs[0] = input_of(in(state, "a"), 1);
	inputs[1] = input_of(in(state, "b"), 1);
	assert_int_equal(mean_of(inputs, 2, 1, in(state, "out"), &error), -1);
	assert_string_equal(error.field, "w");
	view_release(inputs[1].view);
	inputs[1] = input_of(in(state, "c"), 1);
	assert_int_equal(mean_of(inputs, 2, 1, in(state, "out"), &error), -1);
	view_release(inputs[1].view);
	inputs[1] = (struct aggregate_input){ .weight = 1 };
	assert_int_equal(mean_of(inputs, 2, 1, in(state, "out"), &error), -1);
	assert_says(error, "input 2");
	assert_int_equal(mean_of(inputs, 0, 1, in(state, "out"), &error), -1);
	view_release(inputs[0].view);
	assert_null(aggregator_find("mode"));
}

static void an_updates_distance_is_measured(void **state)
{
	const float model[] = { 0, 0, 0 }, update[] = { 3, 0, 4 }, bad[] = { 0, INFINITY, 0 };
	struct rounds_error error = { 0 };
	struct view m, u, x;
	double distance;

	weights_file(in(state, "m"), "w", 3, model);
	weights_file(in(state, "u"), "w", 3, update);
	weights_file(in(state, "x"), "w", 3, bad);
	m = input_of(in(state, "m"), 1).view;
	u = input_of(in(state, "u"), 1).view;
	x = input_of(in(state, "x"), 1).view;
	assert_int_equal(update_check(&u, &m, 0, &distance, &error), 0);
	assert_true(distance == 5);
	assert_int_equal(update_check(&u, NULL, 5, &distance, &error), 0);
	assert_int_equal(update_check(&u, &m, 4.9, &distance, &error), -1);
	assert_says(error, "at most 4.9");
	assert_int_equal(update_check(&x, &m, 0, &distance, &error), -1);
	assert_string_equal(error.field, "w");
	view_release(m);
	view_release(u);
	view_release(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_weight_is_more_than_its_share),
		unit_test_in_directory(a_mean_is_the_same_with_any_threads),
		unit_test_in_directory(every_element_is_the_plain_sum),
		unit_test_in_directory(unlike_inputs_are_refused),
		unit_test_in_directory(an_updates_distance_is_measured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
