#include "client/trainers/training.h"

#include "client/trainers/algorithm.h"
#include "client/trainers/metrics.h"
#include "client/trainers/network.h"
#include "client/trainers/optimizer.h"
#include "client/trainers/own.h"
#include "common/failure.h"
#include "common/json.h"
#include "common/random.h"
#include "common/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MEASURE_ROWS = 4096 };

const struct field training_params[] = {
	{ "model", FIELD_TEXT, "What is trained", .fallback = "\"logistic\"",
		.choices = { "linear", "logistic", "softmax", "cox", "mlp" } },
	{ "outputs", FIELD_INTEGER, "Classes of softmax and mlp; 0: as many as the dataset names", .fallback = "0",
		.min = 0, .max = 1000000 },
	{ "hidden", FIELD_INTEGER, "Width of the hidden layers of an mlp", .fallback = "64", .min = 1,
		.max = 1000000 },
	{ "hidden_layers", FIELD_INTEGER, "How many hidden layers an mlp has", .fallback = "1", .min = 1, .max = 15 },
	{ "loss", FIELD_TEXT, "Loss of an mlp", .fallback = "\"softmax\"",
		.choices = { "softmax", "logistic", "squared", "cox" } },
	{ "time", FIELD_TEXT,
		"Cox's loss: the column of times until the event, where the label is 1, or until nobody looked on, where it is 0",
		.fallback = "\"\"", .min = 0, .max = 200 },
	{ "activation", FIELD_TEXT, "Between the layers of an mlp", .fallback = "\"relu\"",
		.choices = { "relu", "tanh" } },
	{ "standardize", FIELD_BOOL,
		"Scale the features by mean and deviation of the site that makes the model; they travel with it",
		.fallback = "true" },
	{ "epochs", FIELD_INTEGER, "Passes over the data in a round", .fallback = "1", .min = 1, .max = 100000 },
	{ "steps", FIELD_INTEGER, "Steps in a round, whatever the number of rows; 0: as many as the epochs have",
		.fallback = "0", .min = 0, .max = 1000000000 },
	{ "batch_size", FIELD_INTEGER, "Rows of a step; 0: all", .fallback = "32", .min = 0, .max = 100000000 },
	{ "optimizer", FIELD_TEXT, "How steps are made", .fallback = "\"sgd\"",
		.choices = { "sgd", "momentum", "adam" } },
	{ "learning_rate", FIELD_NUMBER, "Length of a step", .fallback = "0.1", .min = 0, .max = 1e6,
		.exclusive = true },
	{ "momentum", FIELD_NUMBER, "For momentum", .fallback = "0.9", .min = 0, .max = 1 },
	{ "l2", FIELD_NUMBER, "Penalty on the weights' squares, l2/2 |W|^2", .fallback = "0.0", .min = 0,
		.max = 1e6 },
	{ "validation", FIELD_NUMBER, "Share of the rows kept for validation", .fallback = "0.2", .min = 0,
		.max = 1 },
	{ "ignore", FIELD_TEXTS, "Columns that are no features in this job", .fallback = "[]", .min = 0,
		.max = 10000 },
	{ "categories", FIELD_OBJECT,
		"All values of columns of text, in order, so that a site may lack some: {\"sex\": [\"f\", \"m\"]}. They travel with "
		"the model and in names of sums, where else only their digest does",
		.fallback = "{}" },
	{ "classes", FIELD_TEXTS,
		"All classes of the label, in order, whatever order sites have them in. They travel with the model and in "
		"names of sums, where else only their digest does",
		.fallback = "[]", .min = 0, .max = 10000 },
	{ NULL },
};

struct training {
	const json_t *task, *params;
	const struct dataset *data;
	progress_fn *progress;
	struct network *network;
	size_t *rows; /* training rows, then validation rows */
	size_t train_rows, validation_rows;
	uint64_t steps; /* made in this task */
	double drift;   /* FedNova's length of the steps' sum, in steps */
};

/* The column of times, which must be there in every row. */
static int find_time(const struct training *training, size_t *column, struct rounds_error *error)
{
	const struct dataset *data = training->data;
	const char *name = json_text_or(training->params, "time", "");

	if (!*name)
		return error_field(error, "trainer.time", "name the column of times, which Cox's loss needs");
	if (dataset_column(data, name, column, error))
		return -1;
	if (data->columns < 2)
		return failure_error(
			error, FAILURE_DATASET, "path", 0, 0, "the dataset has no features beside \"%.100s\"", name);
	for (size_t row = 0; row < data->rows; row++)
		if (!isfinite(data->features[row * data->columns + *column]))
			return failure_error(error, FAILURE_CELL, "path", data->origins[row], 0,
				"there is no time in \"%.100s\"", name);
	return 0;
}

static int read_shape(const struct training *training, struct network *shape, struct rounds_error *error)
{
	const json_t *params = training->params;
	const char *model = json_text_or(params, "model", ""), *loss = json_text_or(params, "loss", "");
	bool mlp = !strcmp(model, "mlp");
	bool softmax = !strcmp(model, "softmax") || (mlp && !strcmp(loss, "softmax"));
	bool logistic = !strcmp(model, "logistic") || (mlp && !strcmp(loss, "logistic"));
	bool cox = !strcmp(model, "cox") || (mlp && !strcmp(loss, "cox"));
	size_t outputs = softmax ? (size_t)json_integer_or(params, "outputs", 0) : 1;
	size_t hidden = mlp ? (size_t)json_integer_or(params, "hidden_layers", 1) : 0;

	if (softmax && outputs == 0)
		outputs = training->data->classes;
	if (softmax && outputs < 2)
		return error_field(
			error, "trainer.outputs", "give the number of classes, since the dataset names none");
	*shape = (struct network){ .layers = hidden + 1,
		.time = NO_TIME,
		.standardize = json_bool_or(params, "standardize", true),
		.schema = training->data->schema,
		.share = json_object_get(training->task, "share") };
	shape->loss = softmax ? LOSS_SOFTMAX : logistic ? LOSS_LOGISTIC : cox ? LOSS_COX : LOSS_SQUARED;
	shape->activation = strcmp(json_text_or(params, "activation", ""), "tanh") ? ACTIVATION_RELU
										   : ACTIVATION_TANH;
	shape->widths[0] = training->data->columns - cox;
	if (cox && find_time(training, &shape->time, error))
		return -1;
	for (size_t i = 1; i <= hidden; i++)
		shape->widths[i] = (size_t)json_integer_or(params, "hidden", 64);
	shape->widths[hidden + 1] = outputs;
	if (network_holds(shape, HOLDS_SHARED) == 0)
		return failure_error(error, FAILURE_PARAMS, "share", 0, 0,
			"the job's patterns in \"share\" match none of the model's tensors (layer0.weight, layer0.bias, ...)");
	return 0;
}

/* Labels that the loss can take. */
static int check_labels(const struct training *training, struct rounds_error *error)
{
	const struct network *network = training->network;
	size_t classes = network->loss == LOSS_SOFTMAX ? network->widths[network->layers] : 2;

	if (network->loss == LOSS_SQUARED)
		return 0;
	for (size_t i = 0; i < training->data->rows; i++) {
		float label = training->data->labels[i];

		if (label < 0 || label >= (float)classes || label != floorf(label))
			return failure_error(error, FAILURE_LABEL, training->data->header ? "path" : "labels",
				training->data->origins[i], 0,
				"this label is no whole number from 0 to %zu, as the loss needs it: name the dataset's "
				"`classes`, or choose another loss",
				classes - 1);
	}
	return 0;
}

static int split_rows(struct training *training, struct rounds_error *error)
{
	size_t rows = training->data->rows;
	double share = json_number_or(training->params, "validation", 0.2);
	uint64_t state = random_salted((uint64_t)json_integer_or(training->task, "seed", 1), 0);

	training->rows = calloc(rows, sizeof(size_t));
	if (!training->rows)
		return error_no_memory(error);
	for (size_t i = 0; i < rows; i++)
		training->rows[i] = i;
	random_shuffle(&state, training->rows, rows);
	training->validation_rows = (size_t)(share * (double)rows + 0.5);
	training->train_rows = rows - training->validation_rows;
	return 0;
}

static void fill_row(const struct training *training, struct batch *batch, size_t at, size_t row)
{
	const struct dataset *data = training->data;

	batch_set(training->network, batch, at, data->features + row * data->columns, data->labels[row]);
}

/* Mean and deviation of the training rows; a column that never changes has scale 1. */
static void standardize(struct training *training)
{
	struct network *network = training->network;
	size_t width = network->widths[0], stride = training->data->columns;

	for (size_t column = 0; network->standardize && column < width; column++) {
		double sum = 0, squares = 0;
		size_t count = 0;

		for (size_t i = 0; i < training->train_rows; i++) {
			const float *values = training->data->features + training->rows[i] * stride;
			double value = values[column + (column >= network->time)];

			if (isnan(value))
				continue;
			sum += value;
			squares += value * value;
			count++;
		}
		double mean = count ? sum / (double)count : 0;
		double variance = count ? squares / (double)count - mean * mean : 0;
		network->values[column] = (float)mean;
		network->values[width + column] = variance > 1e-12 * (1 + mean * mean) ? (float)sqrt(variance) : 1;
	}
}

/* Cox's loss is no sum over rows: it wants all of them at once. */
static size_t rows_at_once(const struct training *training, size_t total)
{
	return training->network->loss == LOSS_COX || total < MEASURE_ROWS ? total : MEASURE_ROWS;
}

/* The mean loss of the training rows, as the model is. */
static int measure_training(const struct training *training, double *loss, struct rounds_error *error)
{
	scoped(batch_free) struct batch *batch = NULL;
	size_t most = rows_at_once(training, training->train_rows);
	double sum = 0;

	if (batch_new(training->network, most, &batch, error))
		return -1;
	for (size_t done = 0; done < training->train_rows; done += most) {
		size_t count = training->train_rows - done < most ? training->train_rows - done : most;

		for (size_t i = 0; i < count; i++)
			fill_row(training, batch, i, training->rows[done + i]);
		network_forward(training->network, batch, count);
		sum += network_loss(training->network, batch, count) * (double)count;
	}
	*loss = sum / (double)training->train_rows;
	return 0;
}

/* 0 where there are none. */
static float time_of(const struct training *training, size_t row)
{
	size_t column = training->network->time;

	return column == NO_TIME ? 0 : training->data->features[row * training->data->columns + column];
}

static int measure(const struct training *training, json_t *values, struct rounds_error *error)
{
	const struct network *network = training->network;
	size_t outputs = network->widths[network->layers], done = 0, total = training->validation_rows, most;
	scoped(batch_free) struct batch *batch = NULL;
	scoped(metrics_free) struct metrics *metrics = NULL;

	if (total == 0)
		return 0;
	most = rows_at_once(training, total);
	if (batch_new(network, most, &batch, error) || metrics_new(network->loss, outputs, total, &metrics, error))
		return -1;
	while (done < total) {
		size_t count = total - done < most ? total - done : most;
		const size_t *rows = training->rows + training->train_rows + done;

		for (size_t i = 0; i < count; i++)
			fill_row(training, batch, i, rows[i]);
		const float *out = network_forward(network, batch, count);
		for (size_t i = 0; i < count; i++)
			metrics_add(metrics, out + i * outputs, training->data->labels[rows[i]],
				time_of(training, rows[i]));
		metrics_add_loss(metrics, network_loss(network, batch, count), count);
		done += count;
	}
	metrics_finish(metrics, values);
	return 0;
}

/* One pass in a new order, or what is left of `limit` steps of it; returns the mean loss of its rows. */
static double epoch(struct training *training, const struct algorithm *algorithm, struct optimizer *optimizer,
	struct batch *batch, size_t batch_rows, size_t *order, uint64_t limit)
{
	struct network *network = training->network;
	double l2 = json_number_or(training->params, "l2", 0), sum = 0;
	size_t done = 0;

	while (done < training->train_rows && (limit == 0 || optimizer->steps < limit)) {
		size_t count = training->train_rows - done < batch_rows ? training->train_rows - done : batch_rows;

		for (size_t i = 0; i < count; i++)
			fill_row(training, batch, i, order[done + i]);
		network_forward(network, batch, count);
		sum += network_loss(network, batch, count) * (double)count;
		network_backward(network, batch, count, l2);
		algorithm_correct(algorithm, network);
		optimizer_step(optimizer, network);
		done += count;
	}
	return sum / (double)done;
}

/* Trains the network as it is; *loss is the mean over the last epoch. */
static int fit(struct training *training, const struct algorithm *algorithm, double *loss, struct rounds_error *error)
{
	struct optimizer optimizer;
	scoped(batch_free) struct batch *batch = NULL;
	scoped(free) void *order = calloc(training->train_rows, sizeof(size_t));
	size_t batch_rows = (size_t)json_integer_or(training->params, "batch_size", 32);
	uint64_t limit = (uint64_t)json_integer_or(training->params, "steps", 0);
	int64_t epochs = json_integer_or(training->params, "epochs", 1);
	uint64_t random = random_salted((uint64_t)json_integer_or(training->task, "seed", 1),
		(uint64_t)json_integer_or(training->task, "round", 0) + 1);

	if (batch_rows == 0 || batch_rows > training->train_rows)
		batch_rows = training->train_rows;
	if (!order || batch_new(training->network, batch_rows, &batch, error))
		return error_no_memory(error);
	if (optimizer_open(&optimizer, training->params, training->network->count, error)) {
		optimizer_close(&optimizer);
		return -1;
	}
	memcpy(order, training->rows, training->train_rows * sizeof(size_t));
	for (int64_t i = 0; limit ? optimizer.steps < limit : i < epochs; i++) {
		if (batch_rows < training->train_rows)
			random_shuffle(&random, order, training->train_rows);
		*loss = epoch(training, algorithm, &optimizer, batch, batch_rows, order, limit);
		training->progress(
			limit ? (double)optimizer.steps / (double)limit : (double)(i + 1) / (double)epochs, *loss);
	}
	training->steps = optimizer.steps;
	training->drift = optimizer_drift(&optimizer);
	optimizer_close(&optimizer);
	return 0;
}

/* What does not travel lies here, from the round before; a site that has none yet takes its first values from the seed. */
static int read_model(struct training *training, const char *model, struct rounds_error *error)
{
	const char *directory = json_text_or(training->task, "own", NULL);
	int64_t round = json_integer_or(training->task, "round", 0);
	bool evaluates = !strcmp(json_text_or(training->task, "kind", ""), "evaluate");
	scoped(text_free) char *kept = NULL;

	if (network_holds(training->network, HOLDS_OWN) > 0) {
		if (!directory)
			return failure_error(error, FAILURE_UNSUPPORTED, "own", 0, 0,
				"the task names no directory for what stays at the site");
		kept = own_find(directory, "own", evaluates ? round + 1 : round);
		standardize(training);
		network_randomize(training->network, (uint64_t)json_integer_or(training->task, "seed", 1));
		if (kept && network_read(training->network, kept, HOLDS_OWN, error))
			return -1;
	}
	return network_read(training->network, model, HOLDS_SHARED, error);
}

static int write_model(struct training *training, const char *output, struct rounds_error *error)
{
	const char *directory = json_text_or(training->task, "own", NULL);
	int64_t round = json_integer_or(training->task, "round", 0);
	scoped(text_free) char *kept = NULL;

	if (network_holds(training->network, HOLDS_OWN) > 0 && round > 0) {
		kept = own_path(directory, "own", round);
		if (!kept)
			return error_no_memory(error);
		if (network_write(training->network, kept, HOLDS_OWN, error))
			return -1;
		own_trim(directory, "own", round);
	}
	return network_write(training->network, output, HOLDS_SHARED, error);
}

/* Ditto: the site's own model takes the same steps, held near the common one; the common one is back afterwards. */
static int train_personal(
	struct training *training, const struct algorithm *algorithm, json_t *values, struct rounds_error *error)
{
	struct network *network = training->network;
	struct algorithm near = { .mu = algorithm->personal_lambda, .anchor = algorithm->anchor };
	scoped(text_free) char *kept = own_find(algorithm->directory, "personal", algorithm->round);
	scoped(text_free) char *path = own_path(algorithm->directory, "personal", algorithm->round);
	scoped(free) void *trained = malloc(network->count * sizeof(float));
	json_auto_t *own = json_object();
	const char *name;
	char text[80];
	double loss;
	json_t *value;

	if (!trained || !path)
		return error_no_memory(error);
	memcpy(trained, network->values, network->count * sizeof(float));
	memcpy(network->values, algorithm->anchor, network->count * sizeof(float));
	if ((kept && network_read(network, kept, HOLDS_ALL, error)) || fit(training, &near, &loss, error) ||
		measure(training, own, error) || network_write(network, path, HOLDS_ALL, error))
		return -1;
	own_trim(algorithm->directory, "personal", algorithm->round);
	json_object_foreach (own, name, value) {
		snprintf(text, sizeof(text), "personal_%s", name);
		json_object_set(values, text, value);
	}
	memcpy(network->values, trained, network->count * sizeof(float));
	return 0;
}

static int train_with(
	struct training *training, struct algorithm *algorithm, json_t *values, struct rounds_error *error)
{
	double rate = json_number_or(training->params, "learning_rate", 0.1), loss = (double)NAN, before;

	if (algorithm->has_control && strcmp(json_text_or(training->params, "optimizer", ""), "sgd") != 0)
		return error_field(error, "trainer.optimizer",
			"SCAFFOLD corrects plain steps: set trainer.optimizer to \"sgd\"");
	if (algorithm->loss_before) {
		if (measure_training(training, &before, error))
			return -1;
		json_object_set_new(values, "train_loss_before", json_number_or_null(before));
	}
	if (fit(training, algorithm, &loss, error) ||
		algorithm_finish(algorithm, training->network, training->steps, rate, error))
		return -1;
	json_object_set_new(values, "train_loss", json_number_or_null(loss));
	if (algorithm->count_steps)
		json_object_set_new(values, "train_steps", json_real(training->drift));
	if (algorithm->has_control)
		json_object_set_new(values, "train_length", json_real((double)training->steps * rate));
	return algorithm->personal_lambda >= 0 ? train_personal(training, algorithm, values, error) : 0;
}

static int train(struct training *training, json_t *values, struct rounds_error *error)
{
	struct algorithm algorithm;
	int failed = algorithm_open(training->task, training->network, &algorithm, error) ||
		     train_with(training, &algorithm, values, error);

	algorithm_close(&algorithm);
	return failed ? -1 : write_model(training, json_text_or(training->task, "output", ""), error);
}

static int do_kind(struct training *training, json_t *values, size_t *weight, struct rounds_error *error)
{
	const char *kind = json_text_or(training->task, "kind", "");
	const char *model = json_text_or(training->task, "model", NULL);
	struct network *network = training->network;

	*weight = training->train_rows;
	if (strcmp(kind, "evaluate") != 0 && training->train_rows == 0)
		return failure_error(error, FAILURE_TOO_FEW, "path", 0, 0, "no rows are left to train on");
	if (!strcmp(kind, "initialize")) {
		standardize(training);
		network_randomize(network, (uint64_t)json_integer_or(training->task, "seed", 1));
		return write_model(training, json_text_or(training->task, "output", ""), error);
	}
	if (!model)
		return failure_error(error, FAILURE_MODEL, "", 0, 0, "the task \"%s\" needs a model", kind);
	if (read_model(training, model, error) || measure(training, values, error))
		return -1;
	if (!strcmp(kind, "evaluate")) {
		/* The same as in training, so that means over sites are of one kind. */
		if (training->train_rows == 0)
			*weight = training->validation_rows;
		return 0;
	}
	if (strcmp(kind, "train") != 0)
		return failure_error(
			error, FAILURE_UNSUPPORTED, "", 0, 0, "this trainer does not know the task \"%.60s\"", kind);
	return train(training, values, error);
}

int training_do(const json_t *task, const json_t *params, const struct dataset *dataset, progress_fn *progress,
	json_t **result, struct rounds_error *error)
{
	struct training training = { .task = task, .params = params, .data = dataset, .progress = progress };
	json_auto_t *values = json_object();
	struct network shape;
	size_t weight = 0;
	int failed;

	failed = read_shape(&training, &shape, error) || network_new(&shape, &training.network, error) ||
		 check_labels(&training, error) || split_rows(&training, error) ||
		 do_kind(&training, values, &weight, error);
	network_free(training.network);
	free(training.rows);
	if (failed)
		return -1;
	*result = json_pack("{s:I, s:O}", "weight", (json_int_t)weight, "metrics", values);
	return *result ? 0 : error_no_memory(error);
}
