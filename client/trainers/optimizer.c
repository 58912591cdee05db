#include "client/trainers/optimizer.h"

#include "common/json.h"

#include <math.h>
#include <string.h>

int optimizer_open(struct optimizer *optimizer, const json_t *params, size_t count, struct rounds_error *error)
{
	const char *name = json_text_or(params, "optimizer", "");

	optimizer->kind = !strcmp(name, "adam") ? STEP_ADAM : !strcmp(name, "momentum") ? STEP_MOMENTUM : STEP_SGD;
	optimizer->rate = json_number_or(params, "learning_rate", 0.1);
	optimizer->momentum = json_number_or(params, "momentum", 0.9);
	optimizer->steps = 0;
	optimizer->first = calloc(count, sizeof(float));
	optimizer->second = calloc(count, sizeof(float));
	if (optimizer->first && optimizer->second)
		return 0;
	return error_no_memory(error);
}

void optimizer_close(struct optimizer *optimizer)
{
	free(optimizer->first);
	free(optimizer->second);
}

void optimizer_step(struct optimizer *optimizer, struct network *network)
{
	const double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
	double correct1 = 1 - pow(beta1, (double)++optimizer->steps),
	       correct2 = 1 - pow(beta2, (double)optimizer->steps);

	for (size_t i = network->first; i < network->count; i++) {
		double gradient = network->gradient[i], step = gradient;

		if (optimizer->kind == STEP_MOMENTUM) {
			optimizer->first[i] = (float)(optimizer->momentum * (double)optimizer->first[i] + gradient);
			step = optimizer->first[i];
		} else if (optimizer->kind == STEP_ADAM) {
			optimizer->first[i] = (float)(beta1 * (double)optimizer->first[i] + (1 - beta1) * gradient);
			optimizer->second[i] = (float)(beta2 * (double)optimizer->second[i] +
						       (1 - beta2) * gradient * gradient);
			step = (double)optimizer->first[i] / correct1 /
			       (sqrt((double)optimizer->second[i] / correct2) + epsilon);
		}
		network->values[i] = (float)((double)network->values[i] - optimizer->rate * step);
	}
}

double optimizer_drift(const struct optimizer *optimizer)
{
	double steps = (double)optimizer->steps, rho = optimizer->momentum;

	if (optimizer->kind != STEP_MOMENTUM || rho >= 1)
		return steps;
	return (steps - rho * (1 - pow(rho, steps)) / (1 - rho)) / (1 - rho);
}
