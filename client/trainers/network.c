#include "client/trainers/network.h"

#include "client/trainers/survival.h"
#include "common/failure.h"
#include "common/file.h"
#include "common/json.h"
#include "common/random.h"
#include "common/tensors.h"

#include <cblas.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct batch {
	float *activations[LAYERS_LIMIT + 1]; /* [0]: inputs; [layers]: outputs */
	float *deltas[LAYERS_LIMIT + 1];
	float *labels, *ones;
	float *times; /* of the rows, and room to sort them; only for Cox's loss */
	struct subject *subjects;
};

int network_new(const struct network *shape, struct network **out, struct rounds_error *error)
{
	scoped(network_free) struct network *network = calloc(1, sizeof(*network));
	float *next;

	if (!network)
		return error_no_memory(error);
	*network = *shape;
	network->values = network->gradient = NULL;
	network->first = shape->standardize ? 2 * shape->widths[0] : 0;
	network->count = network->first;
	for (size_t i = 0; i < shape->layers; i++) {
		size_t weights;

		if (__builtin_mul_overflow(shape->widths[i], shape->widths[i + 1], &weights) ||
			weights > SIZE_MAX / 64)
			return failure_error(error, FAILURE_UNSUPPORTED, "", 0, 0, "the model is too large");
		network->count += weights + shape->widths[i + 1];
	}
	network->values = calloc(network->count, sizeof(float));
	network->gradient = calloc(network->count, sizeof(float));
	if (!network->values || !network->gradient)
		return error_no_memory(error);
	next = network->values + network->first;
	for (size_t i = 0; i < shape->layers; i++) {
		network->weights[i] = next;
		network->biases[i] = next + shape->widths[i] * shape->widths[i + 1];
		next = network->biases[i] + shape->widths[i + 1];
	}
	*out = network;
	network = NULL;
	return 0;
}

void network_free(struct network *network)
{
	if (!network)
		return;
	free(network->values);
	free(network->gradient);
	free(network);
}

void network_randomize(struct network *network, uint64_t seed)
{
	if (network->layers == 1)
		return;
	for (size_t i = 0; i < network->layers; i++) {
		double bound = 1 / sqrt((double)network->widths[i]);
		size_t count = network->widths[i] * network->widths[i + 1] + network->widths[i + 1];

		for (size_t j = 0; j < count; j++)
			network->weights[i][j] = (float)(bound * (2 * random_unit(&seed) - 1));
	}
}

struct names {
	struct tensor_plan plans[2 * LAYERS_LIMIT + 2];
	uint64_t shapes[2 * LAYERS_LIMIT + 2][2];
	char texts[2 * LAYERS_LIMIT + 2][24];
	size_t count;
};

static void add_name(struct names *names, const char *text, size_t rank, size_t rows, size_t columns)
{
	size_t at = names->count++;

	snprintf(names->texts[at], sizeof(names->texts[at]), "%s", text);
	names->shapes[at][0] = rows;
	names->shapes[at][1] = columns;
	names->plans[at] = (struct tensor_plan){ names->texts[at], DTYPE_F32, rank, names->shapes[at] };
}

/* The tensors in the order of `values`. */
static void name_tensors(const struct network *network, struct names *names)
{
	char text[24];

	names->count = 0;
	if (network->standardize) {
		add_name(names, "input.mean", 1, network->widths[0], 0);
		add_name(names, "input.scale", 1, network->widths[0], 0);
	}
	for (size_t i = 0; i < network->layers; i++) {
		snprintf(text, sizeof(text), "layer%zu.weight", i);
		add_name(names, text, 2, network->widths[i + 1], network->widths[i]);
		snprintf(text, sizeof(text), "layer%zu.bias", i);
		add_name(names, text, 1, network->widths[i + 1], 0);
	}
}

static int misfit(struct rounds_error *error, const char *name, const char *what)
{
	return failure_error(error, FAILURE_MODEL, name, 0, 0,
		"the model does not fit the job's parameters and this site's data: \"%s\" %s", name, what);
}

static bool is_held(const struct network *network, const char *name, enum holds holds)
{
	bool shared = network->share == NULL;
	size_t i;
	json_t *pattern;

	json_array_foreach (network->share, i, pattern)
		shared = shared || !fnmatch(json_string_value(pattern), name, 0);
	return holds == HOLDS_ALL || shared == (holds == HOLDS_SHARED);
}

size_t network_holds(const struct network *network, enum holds holds)
{
	struct names names;
	size_t count = 0;

	name_tensors(network, &names);
	for (size_t i = 0; i < names.count; i++)
		count += is_held(network, names.plans[i].name, holds);
	return count;
}

static uint64_t values_of(const struct tensor_plan *plan)
{
	return plan->rank == 2 ? plan->shape[0] * plan->shape[1] : plan->shape[0];
}

static int read_tensor(
	const struct tensor_file *file, const struct tensor_plan *plan, float *values, struct rounds_error *error)
{
	const struct tensor *tensor = tensors_find(file->tensors, plan->name);

	if (!tensor)
		return misfit(error, plan->name, "is missing");
	if (tensor->dtype != DTYPE_F32)
		return misfit(error, plan->name, "is not F32");
	if (tensor->rank != plan->rank || memcmp(tensor->shape, plan->shape, plan->rank * sizeof(uint64_t)) != 0)
		return misfit(error, plan->name, "has another shape");
	memcpy(values, file->view.bytes + tensor->offset, tensor->size);
	return 0;
}

int network_read(struct network *network, const char *path, enum holds holds, struct rounds_error *error)
{
	scoped(tensor_file_close) struct tensor_file file = { 0 };
	struct names names;
	float *next = network->values;

	if (tensor_file_open(path, &file, error))
		return -1;
	name_tensors(network, &names);
	for (size_t i = 0; i < names.count; i++) {
		if (is_held(network, names.plans[i].name, holds) && read_tensor(&file, &names.plans[i], next, error))
			return -1;
		next += values_of(&names.plans[i]);
	}
	if (file.tensors->count != network_holds(network, holds))
		return failure_error(error, FAILURE_MODEL, "", 0, 0,
			"the model does not fit the job's parameters and this site's data: it has more tensors");
	return 0;
}

int network_write(const struct network *network, const char *path, enum holds holds, struct rounds_error *error)
{
	scoped(file_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct names names;
	struct tensor_plan held[ARRAY_SIZE(names.plans)];
	json_auto_t *metadata = NULL;
	const float *next = network->values;
	uint8_t *header = NULL;
	size_t size, count = 0;
	int failed;

	if (fd < 0)
		return error_errno(error, "cannot create %s", path);
	name_tensors(network, &names);
	for (size_t i = 0; i < names.count; i++)
		if (is_held(network, names.plans[i].name, holds))
			held[count++] = names.plans[i];
	metadata = network->schema ? json_pack("{s:s}", SCHEMA_KEY, network->schema) : NULL;
	if (tensors_header(held, count, metadata, &header, &size, error))
		return -1;
	failed = file_write_all(fd, header, size, error);
	free(header);
	for (size_t i = 0; !failed && i < names.count; i++) {
		size_t values = (size_t)values_of(&names.plans[i]);

		if (is_held(network, names.plans[i].name, holds))
			failed = file_write_all(fd, next, values * sizeof(float), error);
		next += values;
	}
	return failed ? -1 : 0;
}

int batch_new(const struct network *network, size_t rows, struct batch **out, struct rounds_error *error)
{
	scoped(batch_free) struct batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return error_no_memory(error);
	for (size_t i = 0; i <= network->layers; i++) {
		batch->activations[i] = calloc(rows * network->widths[i] + 1, sizeof(float));
		batch->deltas[i] = calloc(rows * network->widths[i] + 1, sizeof(float));
		if (!batch->activations[i] || !batch->deltas[i])
			return error_no_memory(error);
	}
	batch->labels = calloc(rows + 1, sizeof(float));
	batch->ones = calloc(rows + 1, sizeof(float));
	batch->times = calloc(rows + 1, sizeof(float));
	batch->subjects = calloc(network->loss == LOSS_COX ? rows + 1 : 1, sizeof(*batch->subjects));
	if (!batch->labels || !batch->ones || !batch->times || !batch->subjects)
		return error_no_memory(error);
	for (size_t i = 0; i < rows; i++)
		batch->ones[i] = 1;
	*out = batch;
	batch = NULL;
	return 0;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	for (size_t i = 0; i <= LAYERS_LIMIT; i++) {
		free(batch->activations[i]);
		free(batch->deltas[i]);
	}
	free(batch->labels);
	free(batch->ones);
	free(batch->times);
	free(batch->subjects);
	free(batch);
}

void batch_set(const struct network *network, struct batch *batch, size_t at, const float *values, float label)
{
	size_t width = network->widths[0];
	const float *mean = network->values, *scale = network->values + width;
	float *to = batch->activations[0] + at * width;

	for (size_t i = 0; i < width; i++) {
		float value = values[i + (i >= network->time)];
		bool missing = isnan(value);

		if (network->standardize)
			to[i] = missing ? 0 : (value - mean[i]) / scale[i];
		else
			to[i] = missing ? 0 : value;
	}
	batch->labels[at] = label;
	batch->times[at] = network->time == NO_TIME ? 0 : values[network->time];
}

const float *network_forward(const struct network *network, struct batch *batch, size_t rows)
{
	for (size_t i = 0; i < network->layers; i++) {
		size_t in = network->widths[i], out = network->widths[i + 1];
		float *to = batch->activations[i + 1];

		for (size_t row = 0; row < rows; row++)
			memcpy(to + row * out, network->biases[i], out * sizeof(float));
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)out, (blasint)in, 1,
			batch->activations[i], (blasint)in, network->weights[i], (blasint)in, 1, to, (blasint)out);
		if (i + 1 == network->layers)
			break;
		for (size_t j = 0; j < rows * out; j++)
			to[j] = network->activation == ACTIVATION_TANH ? tanhf(to[j]) : to[j] > 0 ? to[j] : 0;
	}
	return batch->activations[network->layers];
}

static double log_sum_exp(const float *row, size_t count)
{
	double greatest = row[0], sum = 0;

	for (size_t i = 1; i < count; i++)
		greatest = row[i] > greatest ? row[i] : greatest;
	for (size_t i = 0; i < count; i++)
		sum += exp(row[i] - greatest);
	return greatest + log(sum);
}

/* Cox's loss is of the batch as a whole; `gradient` may be NULL. */
static double cox_loss(const struct network *network, const struct batch *batch, size_t rows, float *gradient)
{
	const float *scores = batch->activations[network->layers];

	for (size_t i = 0; i < rows; i++)
		batch->subjects[i] = (struct subject){
			.score = scores[i], .time = batch->times[i], .event = batch->labels[i] > 0.5f, .row = i
		};
	return survival_loss(batch->subjects, rows, gradient);
}

double network_loss(const struct network *network, const struct batch *batch, size_t rows)
{
	size_t outputs = network->widths[network->layers];
	const float *out = batch->activations[network->layers];
	double sum = 0;

	if (network->loss == LOSS_COX)
		return cox_loss(network, batch, rows, NULL);
	for (size_t i = 0; i < rows; i++) {
		double label = batch->labels[i], z = out[i * outputs];

		if (network->loss == LOSS_SQUARED)
			sum += (z - label) * (z - label);
		else if (network->loss == LOSS_LOGISTIC)
			sum += fmax(z, 0) - z * label + log1p(exp(-fabs(z)));
		else
			sum += log_sum_exp(out + i * outputs, outputs) - (double)out[i * outputs + (size_t)label];
	}
	return sum / (double)rows;
}

/* The loss's derivative by the outputs, over the number of rows. */
static void output_deltas(const struct network *network, struct batch *batch, size_t rows)
{
	size_t outputs = network->widths[network->layers];
	const float *out = batch->activations[network->layers];
	float *delta = batch->deltas[network->layers];

	if (network->loss == LOSS_COX) {
		(void)cox_loss(network, batch, rows, delta);
		return;
	}
	for (size_t i = 0; i < rows; i++) {
		double label = batch->labels[i], z = out[i * outputs], sum;

		if (network->loss == LOSS_SQUARED) {
			delta[i] = (float)(2 * (z - label) / (double)rows);
		} else if (network->loss == LOSS_LOGISTIC) {
			delta[i] = (float)((1 / (1 + exp(-z)) - label) / (double)rows);
		} else {
			sum = log_sum_exp(out + i * outputs, outputs);
			for (size_t j = 0; j < outputs; j++)
				delta[i * outputs + j] = (float)((exp(out[i * outputs + j] - sum) -
									 (j == (size_t)label)) /
								 (double)rows);
		}
	}
}

void network_backward(struct network *network, struct batch *batch, size_t rows, double l2)
{
	output_deltas(network, batch, rows);
	for (size_t i = network->layers; i-- > 0;) {
		size_t in = network->widths[i], out = network->widths[i + 1];
		float *weights = network->gradient + (network->weights[i] - network->values);
		float *biases = network->gradient + (network->biases[i] - network->values);
		float *delta = batch->deltas[i + 1], *below = batch->deltas[i];
		const float *active = batch->activations[i];

		memcpy(weights, network->weights[i], in * out * sizeof(float));
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)out, (blasint)in, (blasint)rows, 1,
			delta, (blasint)out, active, (blasint)in, (float)l2, weights, (blasint)in);
		cblas_sgemv(CblasRowMajor, CblasTrans, (blasint)rows, (blasint)out, 1, delta, (blasint)out,
			batch->ones, 1, 0, biases, 1);
		/* Only differences of scores count for Cox: this bias stays, while Adam would walk on rounding errors. */
		if (network->loss == LOSS_COX && i + 1 == network->layers)
			biases[0] = 0;
		if (i == 0)
			break;
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)rows, (blasint)in, (blasint)out, 1,
			delta, (blasint)out, network->weights[i], (blasint)in, 0, below, (blasint)in);
		for (size_t j = 0; j < rows * in; j++)
			below[j] *= network->activation == ACTIVATION_TANH ? 1 - active[j] * active[j]
									   : active[j] > 0;
	}
}
