/*
 * SCAFFOLD's step (workflows/scaffold.c tells the algorithm): x + rate d, and the server's control variate
 *
 *     c = c + share (scale (x - y') - c)      c = 0 at first
 *
 * y' is the mean in which each update weighs the more, the shorter its site's steps were; scale undoes what that does to the sum
 * of the weights. Params: {"rate", "share", "lengths": {site: steps x learning rate}, "mean_only"}.
 */
#include "server/aggregate/aggregators.h"
#include "server/aggregate/element_step.h"
#include "server/aggregate/server_steps.h"

#include "common/json.h"

static void step_scaffold(struct chunk *chunk, const struct rates *rates)
{
	double *c = chunk->states[0];

	for (size_t i = 0; i < chunk->count; i++)
		c[i] += rates->share * (rates->scale * (chunk->x[i] - chunk->second[i]) - c[i]);
	step_along(chunk, rates);
}

static void weigh_by_length(const json_t *params, struct aggregate_input *inputs, size_t count, double *scale)
{
	const json_t *lengths = json_object_get(params, "lengths");
	double weights = 0, inverse = 0;

	for (size_t i = 0; i < count; i++) {
		weights += inputs[i].weight;
		inputs[i].weight /= json_number_or(lengths, inputs[i].site ? inputs[i].site : "", 1);
		inverse += inputs[i].weight;
	}
	*scale = weights > 0 ? inverse / weights : 0;
}

const struct server_step server_step_scaffold = {
	.name = "scaffold",
	.second = &aggregator_weighted_mean,
	.reweigh = weigh_by_length,
	.make = step_elements,
	.kernel = step_scaffold,
	.states = { { "" } },
};
