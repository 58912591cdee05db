#include "server/aggregate/update_check.h"

#include "common/json.h"
#include "common/tensors.h"
#include "common/text.h"
#include "server/aggregate/source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* So many bytes a header may have beside twice the model's: metadata. */
enum { CHUNK = 4096, HEADER_FREE = 4 << 20 };

static int refuse(struct rounds_error *error, const char *tensor, const char *what)
{
	error_set(error, ERROR_UNPROCESSABLE, "tensor \"%.100s\" %s", tensor, what);
	text_print(error->field, sizeof(error->field), "%.150s", tensor);
	return -1;
}

static void shape_text(const struct tensor *tensor, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, "%s[", dtype_name(tensor->dtype));

	for (size_t i = 0; i < tensor->rank && used < size; i++)
		used += (size_t)snprintf(
			text + used, size - used, "%s%llu", i ? "," : "", (unsigned long long)tensor->shape[i]);
	if (used < size)
		snprintf(text + used, size - used, "]");
}

static int check_like(const struct tensor *tensor, const struct tensor *wanted, struct rounds_error *error)
{
	char is[120], should[120], what[300];

	if (tensor->dtype == wanted->dtype && tensor->rank == wanted->rank &&
		!memcmp(tensor->shape, wanted->shape, tensor->rank * sizeof(*tensor->shape)))
		return 0;
	shape_text(tensor, is, sizeof(is));
	shape_text(wanted, should, sizeof(should));
	snprintf(what, sizeof(what), "is %s where the model has %s", is, should);
	return refuse(error, tensor->name, what);
}

static int check_names(const struct tensors *update, const struct tensors *model, struct rounds_error *error)
{
	for (size_t i = 0; i < model->count; i++) {
		const struct tensor *tensor = tensors_find(update, model->list[i].name);

		if (!tensor)
			return refuse(error, model->list[i].name, "is missing");
		if (check_like(tensor, &model->list[i], error))
			return -1;
	}
	for (size_t i = 0; i < update->count; i++)
		if (!tensors_find(model, update->list[i].name))
			return refuse(error, update->list[i].name, "is not in the model");
	return 0;
}

/* Names and shapes are the model's: a header that is much longer than the model's is not worth reading. */
static int check_header(const struct view *update, const struct view *model, struct rounds_error *error)
{
	uint64_t length = tensors_header_length(update->bytes, update->size);

	if (!model || length <= HEADER_FREE + 2 * tensors_header_length(model->bytes, model->size))
		return 0;
	return error_set(error, ERROR_UNPROCESSABLE,
		"the update's header has %llu bytes, far more than the model's tensors need",
		(unsigned long long)length);
}

/* An update says of its table what the model says, or nothing: else its site took columns for others. */
static int check_schema(const struct tensors *update, const struct tensors *model, struct rounds_error *error)
{
	const char *said = tensors_metadata(update, SCHEMA_KEY), *wanted = tensors_metadata(model, SCHEMA_KEY);
	json_auto_t *ours = NULL, *theirs = NULL;

	if (!said || (wanted && !strcmp(said, wanted)))
		return 0;
	if (wanted && !json_parse(said, strlen(said), &ours, error) &&
		!json_parse(wanted, strlen(wanted), &theirs, error) && json_equal(ours, theirs))
		return 0;
	error_set(error, ERROR_UNPROCESSABLE,
		"the update's schema is not the model's: the site must train on the model's columns, categories and classes");
	snprintf(error->field, sizeof(error->field), "%s", SCHEMA_KEY);
	return -1;
}

/* The plain loop that compilers turn into vectors; a sum that is not finite says that some element is not. */
static double squares_f32(const uint8_t *update, const uint8_t *model, size_t count)
{
	double sums[8] = { 0 }, sum = 0;
	size_t at = 0;

	for (; at + 8 <= count; at += 8) {
		float a[8], b[8] = { 0 };

		memcpy(a, update + at * sizeof(float), sizeof(a));
		if (model)
			memcpy(b, model + at * sizeof(float), sizeof(b));
		for (int j = 0; j < 8; j++) {
			double difference = (double)a[j] - (double)b[j];

			sums[j] += difference * difference;
		}
	}
	for (; at < count; at++) {
		float a, b = 0;

		memcpy(&a, update + at * sizeof(float), sizeof(a));
		if (model)
			memcpy(&b, model + at * sizeof(float), sizeof(b));
		sum += ((double)a - (double)b) * ((double)a - (double)b);
	}
	for (int j = 0; j < 8; j++)
		sum += sums[j];
	return sum;
}

/* Squares of doubles may be infinite where the doubles are not. */
static double squares_f64(const uint8_t *update, const uint8_t *model, size_t count, bool *finite)
{
	double sum = 0;

	for (size_t at = 0; at < count; at++) {
		double a, b = 0;

		memcpy(&a, update + at * sizeof(a), sizeof(a));
		if (model)
			memcpy(&b, model + at * sizeof(b), sizeof(b));
		*finite = *finite && isfinite(a);
		sum += (a - b) * (a - b);
	}
	return sum;
}

/* Elements that must be widened are looked at in chunks. */
static int check_values(const struct source *update, const struct tensor *tensor, const struct source *model,
	double *sum, struct rounds_error *error)
{
	const struct tensor *wanted = model ? tensors_find(model->tensors, tensor->name) : NULL;
	enum dtype given = source_dtype(tensor->dtype);
	float our_room[CHUNK], their_room[CHUNK];
	bool finite = true, widens;
	uint64_t chunk;

	if (!dtype_is_float(tensor->dtype))
		return 0;
	if (update->want(update, tensor, 0, (size_t)tensor->count, error) ||
		(wanted && model->want(model, wanted, 0, (size_t)wanted->count, error)))
		return -1;
	widens = update->needs_room(update, tensor) || (wanted && model->needs_room(model, wanted));
	chunk = widens ? CHUNK : tensor->count;
	for (uint64_t at = 0; finite && at < tensor->count; at += chunk) {
		size_t count = (size_t)(tensor->count - at < chunk ? tensor->count - at : chunk);
		const uint8_t *ours = update->load(update, tensor, at, count, our_room);
		const uint8_t *theirs = wanted ? model->load(model, wanted, at, count, their_room) : NULL;
		double squares = given == DTYPE_F32 ? squares_f32(ours, theirs, count)
						    : squares_f64(ours, theirs, count, &finite);

		finite = finite && (given != DTYPE_F32 || isfinite(squares));
		*sum += squares;
	}
	return finite ? 0 : refuse(error, tensor->name, "holds a value that is not finite (NaN or infinite)");
}

int update_check(const struct view *update_view, const struct view *model_view, double bound, double *distance,
	struct rounds_error *error)
{
	scoped(source_close) struct source update = { 0 };
	scoped(source_close) struct source model = { 0 };
	double sum = 0;

	if ((model_view && source_open(model_view, NULL, &model, error)) ||
		check_header(update_view, model_view, error) || source_open(update_view, NULL, &update, error) ||
		(model_view && (check_names(update.tensors, model.tensors, error) ||
				       check_schema(update.tensors, model.tensors, error))))
		return -1;
	for (size_t i = 0; i < update.tensors->count; i++)
		if (check_values(&update, &update.tensors->list[i], model_view ? &model : NULL, &sum, error))
			return -1;
	*distance = sqrt(sum);
	if (bound > 0 && *distance > bound)
		return error_set(error, ERROR_UNPROCESSABLE,
			"the update lies %.6g (L2 norm) from the model; the job allows at most %.6g", *distance,
			bound);
	return 0;
}
