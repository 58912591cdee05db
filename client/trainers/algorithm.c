#include "client/trainers/algorithm.h"

#include "client/trainers/own.h"
#include "common/failure.h"
#include "common/fields.h"
#include "common/json.h"
#include "common/text.h"

#include <string.h>

static const struct field known[] = {
	{ "proximal_mu", FIELD_NUMBER, "FedProx's mu", .fallback = "0.0", .min = 0, .max = 1e6 },
	{ "control_variates", FIELD_BOOL, "SCAFFOLD", .fallback = "false" },
	{ "personal_lambda", FIELD_NUMBER, "Ditto's lambda", .fallback = "-1.0", .min = -1, .max = 1e6 },
	{ "loss_before", FIELD_BOOL, "q-FedAvg", .fallback = "false" },
	{ "count_steps", FIELD_BOOL, "FedNova", .fallback = "false" },
	{ NULL },
};

/* c comes with the task (zero in the first round), c_i from the last round in which this site took part. */
static int read_control(
	const json_t *task, const struct network *network, struct algorithm *algorithm, struct rounds_error *error)
{
	const char *path = json_text_or(task, "control", NULL);
	scoped(text_free) char *kept = own_find(algorithm->directory, "control", algorithm->round);

	if (network_new(network, &algorithm->control, error) || network_new(network, &algorithm->own, error))
		return -1;
	if (path && network_read(algorithm->control, path, HOLDS_SHARED, error))
		return error_prefix(error, "the control variate");
	if (kept && network_read(algorithm->own, kept, HOLDS_SHARED, error))
		return error_prefix(error, "the kept control variate");
	return 0;
}

int algorithm_open(
	const json_t *task, const struct network *network, struct algorithm *algorithm, struct rounds_error *error)
{
	const json_t *given = json_object_get(task, "algorithm");
	json_auto_t *asked = NULL, *none = json_object(), *faults = json_array();

	*algorithm = (struct algorithm){ .round = json_integer_or(task, "round", 0),
		.directory = json_text_or(task, "own", NULL) };
	asked = fields_apply(known, json_is_object(given) ? given : none, "algorithm", faults);
	if (!asked) {
		fields_error(faults, error);
		return error_prefix(error, "this trainer does not do the job's algorithm");
	}
	algorithm->mu = json_number_or(asked, "proximal_mu", 0);
	algorithm->personal_lambda = json_number_or(asked, "personal_lambda", -1);
	algorithm->loss_before = json_bool_or(asked, "loss_before", false);
	algorithm->count_steps = json_bool_or(asked, "count_steps", false);
	algorithm->has_control = json_bool_or(asked, "control_variates", false);
	algorithm->anchor = malloc(network->count * sizeof(float));
	if (!algorithm->anchor)
		return error_no_memory(error);
	memcpy(algorithm->anchor, network->values, network->count * sizeof(float));
	if (!algorithm->directory && (algorithm->has_control || algorithm->personal_lambda >= 0))
		return failure_error(error, FAILURE_UNSUPPORTED, "own", 0, 0,
			"the task names no directory for what stays at the site");
	return algorithm->has_control ? read_control(task, network, algorithm, error) : 0;
}

void algorithm_close(struct algorithm *algorithm)
{
	network_free(algorithm->control);
	network_free(algorithm->own);
	free(algorithm->anchor);
	*algorithm = (struct algorithm){ 0 };
}

void algorithm_correct(const struct algorithm *algorithm, struct network *network)
{
	float mu = (float)algorithm->mu;

	for (size_t i = network->first; mu > 0 && i < network->count; i++)
		network->gradient[i] += mu * (network->values[i] - algorithm->anchor[i]);
	for (size_t i = network->first; algorithm->control && i < network->count; i++)
		network->gradient[i] += algorithm->control->values[i] - algorithm->own->values[i];
}

int algorithm_finish(struct algorithm *algorithm, const struct network *network, uint64_t steps, double rate,
	struct rounds_error *error)
{
	scoped(text_free) char *path = NULL;
	double length = (double)steps * rate;

	if (!algorithm->control)
		return 0;
	for (size_t i = network->first; i < network->count; i++)
		algorithm->own->values[i] = (float)((double)algorithm->own->values[i] -
						    (double)algorithm->control->values[i] +
						    ((double)algorithm->anchor[i] - (double)network->values[i]) /
							    length);
	path = own_path(algorithm->directory, "control", algorithm->round);
	if (!path)
		return error_no_memory(error);
	if (network_write(algorithm->own, path, HOLDS_SHARED, error))
		return -1;
	own_trim(algorithm->directory, "control", algorithm->round);
	return 0;
}
