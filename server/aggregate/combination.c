/*
 * The model, and what each input changed of the model that it was trained from, times its weight: x + sum w_i (y_i - x_i). For
 * changes that were not made from the same model (Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation,
 * AISTATS 2022).
 */
#include "server/aggregate/aggregators.h"
#include "server/aggregate/kernels.h"

#include <string.h>

static int take_as_given(struct preparation *preparation, struct rounds_error *error)
{
	(void)error;
	for (size_t i = 0; i < preparation->count; i++)
		preparation->weights[i] = (long double)preparation->given[i];
	return 0;
}

/* The terms of the sum: the inputs, then what they were trained from with the opposite weights, last the model. */
static const struct aggregator terms = { .name = "combination", .prepare = take_as_given, .kernel = kernel_mean };

static int combine(const struct aggregate_order *order, const struct sink *output, struct rounds_error *error)
{
	size_t n = order->count, count = 2 * n + 1;
	scoped(free) void *room = calloc(count, sizeof(struct aggregate_input));
	scoped(free) void *outliers_room = calloc(count, sizeof(struct outlier));
	struct aggregate_input *inputs = room;
	struct aggregate_order sum = *order;

	if (!inputs || !outliers_room)
		return error_no_memory(error);
	if (!order->model)
		return error_set(error, ERROR_INVALID, "there is no model to add the changes to");
	for (size_t i = 0; i < n; i++) {
		inputs[i] = order->inputs[i];
		inputs[n + i] = (struct aggregate_input){ .view = order->inputs[i].base,
			.weight = -order->inputs[i].weight };
	}
	inputs[2 * n] = (struct aggregate_input){ .view = *order->model, .weight = 1 };
	sum.aggregator = &terms;
	sum.inputs = inputs;
	sum.count = count;
	sum.outliers = order->outliers ? outliers_room : NULL;
	if (aggregate(&sum, output, error))
		return -1;
	if (order->outliers)
		memcpy(order->outliers, outliers_room, n * sizeof(struct outlier));
	return 0;
}

const struct aggregator aggregator_combination = {
	.name = "combination",
	.needs_model = true,
	.make = combine,
};
