/*
 * Linear, logistic, softmax and Cox regression and the multilayer perceptron are one thing: layers of y = W x + b, an
 * activation between them, and a loss. Weights are float32 in PyTorch's layout (out x in), matrix products OpenBLAS's.
 *
 * Tensors: input.mean, input.scale (features; only if inputs are standardised), layer0.weight, layer0.bias, ...
 */
#ifndef ROUNDS_CLIENT_TRAINERS_NETWORK_H
#define ROUNDS_CLIENT_TRAINERS_NETWORK_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum loss { LOSS_SQUARED, LOSS_LOGISTIC, LOSS_SOFTMAX, LOSS_COX };
enum activation { ACTIVATION_RELU, ACTIVATION_TANH };

#define LAYERS_LIMIT 16
#define NO_TIME      SIZE_MAX

struct network {
	size_t layers;
	size_t widths[LAYERS_LIMIT + 1]; /* widths[0]: features; widths[layers]: outputs */
	enum loss loss;
	enum activation activation;
	bool standardize;
	size_t time;         /* which value of a row is its time and no feature; NO_TIME: none is */
	const char *schema;  /* what the files say of the columns (schema.h); NULL: nothing */
	const json_t *share; /* patterns of the tensors that travel; NULL: all do */
	size_t count;        /* of all values */
	float *values;       /* [mean scale] then, layer by layer, weight and bias */
	float *gradient;     /* of the same length; zero for mean and scale */
	size_t first;        /* where what is trained begins */
	float *weights[LAYERS_LIMIT], *biases[LAYERS_LIMIT]; /* into values */
};

/* `shape` says layers, widths, loss, activation and standardize; all values are zero. */
must_check int network_new(const struct network *shape, struct network **network, struct rounds_error *error);
void network_free(struct network *network);
DEFINE_CLEANUP(struct network *, network_free);

/* U(-1/sqrt(in), 1/sqrt(in)) as in PyTorch's Linear, from the seed; a single layer begins at zero. */
void network_randomize(struct network *network, uint64_t seed);

/* Which of its tensors a file holds: those whose name matches a pattern of `share`, the others, or all. */
enum holds { HOLDS_SHARED, HOLDS_OWN, HOLDS_ALL };

/* The file must hold exactly those tensors, in float32: the error names the one that differs. */
must_check int network_read(struct network *network, const char *path, enum holds holds, struct rounds_error *error);
must_check int network_write(
	const struct network *network, const char *path, enum holds holds, struct rounds_error *error);
/* How many tensors that is. */
size_t network_holds(const struct network *network, enum holds holds);

/* Room for a batch of at most `rows`. */
struct batch;
must_check int batch_new(
	const struct network *network, size_t rows, struct batch **batch, struct rounds_error *error);
void batch_free(struct batch *batch);
DEFINE_CLEANUP(struct batch *, batch_free);

/* Puts a row of raw values (NaN: missing) and its label at `at`; missing ones become the mean. */
void batch_set(const struct network *network, struct batch *batch, size_t at, const float *values, float label);

/* The outputs (rows x outputs, before the last activation), which live in the batch. */
const float *network_forward(const struct network *network, struct batch *batch, size_t rows);
/* The mean loss of those outputs, in double. */
double network_loss(const struct network *network, const struct batch *batch, size_t rows);
/* After a forward: fills network->gradient with that of the mean loss plus l2/2 |W|^2 (weights, not biases). */
void network_backward(struct network *network, struct batch *batch, size_t rows, double l2);

#endif
