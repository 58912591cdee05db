#include "client/trainers/kmeans.h"

#include "client/trainers/microaggregation.h"
#include "client/trainers/sums.h"
#include "common/failure.h"
#include "common/fields.h"
#include "common/json.h"
#include "common/random.h"

#include <math.h>
#include <string.h>

static const struct field asked_fields[] = {
	{ "kmeans", FIELD_INTEGER, "How many centers", .required = true, .min = 1, .max = 100000 },
	{ NULL },
};

struct clustering {
	const struct dataset *data;
	size_t k, width;
	struct tensor_file file; /* the model */
	const double *centers, *mean, *scale;
	struct groups groups; /* of the site's rows: they go to their centers whole */
	struct sums sums;
};

bool kmeans_asked(const json_t *task)
{
	return json_object_get(json_object_get(task, "algorithm"), "kmeans") != NULL;
}

static double *add(
	struct clustering *work, uint64_t rows, uint64_t columns, const char *name, struct rounds_error *error)
{
	double *values = sums_add(&work->sums, rows, columns, "%s", name);

	if (!values)
		(void)error_no_memory(error);
	return values;
}

/* Mean and deviation of a column here. */
static void measure_column(const struct dataset *data, size_t column, double *mean, double *scale)
{
	double sum = 0, squares = 0, count = 0;

	for (size_t row = 0; row < data->rows; row++) {
		double value = (double)data->features[row * data->columns + column];

		if (isnan(value))
			continue;
		sum += value;
		squares += value * value;
		count++;
	}
	*mean = count > 0 ? sum / count : 0;
	*scale = count > 0 ? sqrt(fmax(squares / count - *mean * *mean, 0)) : 0;
	if (!(*scale > 0))
		*scale = 1;
}

static int make_model(struct clustering *work, uint64_t seed, struct rounds_error *error)
{
	double *centers = add(work, work->k, work->width, "centers", error),
	       *counts = add(work, work->k, 0, "counts", error);
	double *mean = add(work, work->width, 0, "mean", error), *scale = add(work, work->width, 0, "scale", error);
	uint64_t random = random_salted(seed, 0x6b);

	if (!centers || !counts || !mean || !scale)
		return -1;
	for (size_t j = 0; j < work->width; j++) {
		scale[j] = 1;
		if (work->groups.told[j])
			measure_column(work->data, j, &mean[j], &scale[j]);
	}
	for (size_t i = 0; i < work->k * work->width; i++) {
		double u = 1 - random_unit(&random), v = random_unit(&random);

		centers[i] = sqrt(-2 * log(u)) * cos(2 * M_PI * v);
	}
	return 0;
}

static int read_model(struct clustering *work, const char *path, struct rounds_error *error)
{
	return tensor_file_open(path, &work->file, error) ||
			       sums_find(&work->file, "centers", work->k * work->width, &work->centers, error) ||
			       sums_find(&work->file, "mean", work->width, &work->mean, error) ||
			       sums_find(&work->file, "scale", work->width, &work->scale, error)
		       ? -1
		       : 0;
}

/* A scaled feature of a group; where it tells none, whatever it is compared with. */
static double scaled(const struct clustering *work, size_t group, size_t column, double otherwise)
{
	double value = work->groups.mean[group * work->width + column];

	return isnan(value) ? otherwise : (value - work->mean[column]) / work->scale[column];
}

static size_t nearest(const struct clustering *work, size_t group, double *least)
{
	size_t best = 0;

	*least = INFINITY;
	for (size_t i = 0; i < work->k; i++) {
		double apart = 0;

		for (size_t j = 0; j < work->width; j++) {
			double center = work->centers[i * work->width + j],
			       away = scaled(work, group, j, center) - center;

			apart += away * away;
		}
		if (apart < *least) {
			*least = apart;
			best = i;
		}
	}
	return best;
}

/* The squared distances, summed, of a group's rows from its mean. */
static double spread(const struct clustering *work, size_t group)
{
	double sum = 0;

	for (size_t j = 0; j < work->width; j++)
		sum += work->groups.deviations[group * work->width + j] / (work->scale[j] * work->scale[j]);
	return sum;
}

static int assign(struct clustering *work, double *inertia, struct rounds_error *error)
{
	double *sums = add(work, work->k, work->width, "centers", error),
	       *counts = add(work, work->k, 0, "counts", error);
	double *mean = add(work, work->width, 0, "mean", error), *scale = add(work, work->width, 0, "scale", error);

	if (!sums || !counts || !mean || !scale)
		return -1;
	*inertia = 0;
	for (size_t group = 0; group < work->groups.count; group++) {
		double least, rows = (double)(work->groups.starts[group + 1] - work->groups.starts[group]);
		size_t center = nearest(work, group, &least);

		*inertia += (rows * least + spread(work, group)) / (double)work->data->rows;
		counts[center] += rows;
		for (size_t j = 0; j < work->width; j++)
			sums[center * work->width + j] += rows * scaled(work, group, j,
									 work->centers[center * work->width + j]);
	}
	return 0;
}

static int do_kind(struct clustering *work, const json_t *task, double *inertia, struct rounds_error *error)
{
	const char *kind = json_text_or(task, "kind", "");
	size_t least = (size_t)json_integer_or(json_object_get(task, "dataset"), "min_cell", 5);

	if (groups_make(work->data, least, &work->groups, error))
		return -1;
	if (least > 1 && work->k > work->data->rows / least)
		return failure_error(error, FAILURE_TOO_FEW, "path", 0, 0,
			"this site's rows are too few for so many clusters: each needs min_cell of them; ask for fewer");
	if (!strcmp(kind, "initialize")
			? make_model(work, (uint64_t)json_integer_or(task, "seed", 1), error)
			: read_model(work, json_text_or(task, "model", ""), error) || assign(work, inertia, error))
		return -1;
	return strcmp(kind, "evaluate") != 0 ? sums_write(&work->sums, json_text_or(task, "output", ""), error) : 0;
}

int kmeans_do(const json_t *task, const struct dataset *dataset, json_t **result, struct rounds_error *error)
{
	json_auto_t *asked = NULL, *faults = json_array();
	struct clustering work = {
		.data = dataset, .sums = { .schema = dataset->schema }, .width = dataset->columns
	};
	double inertia = (double)NAN;
	int failed;

	asked = fields_apply(asked_fields, json_object_get(task, "algorithm"), "algorithm", faults);
	if (!asked)
		return fields_error(faults, error);
	work.k = (size_t)json_integer_or(asked, "kmeans", 1);
	failed = do_kind(&work, task, &inertia, error);
	groups_free(work.groups);
	sums_free(work.sums);
	tensor_file_close(work.file);
	if (failed)
		return -1;
	*result = json_pack("{s:I, s:{}}", "weight", (json_int_t)dataset->rows, "metrics");
	if (*result && strcmp(json_text_or(task, "kind", ""), "initialize") != 0)
		json_object_set_new(json_object_get(*result, "metrics"), "inertia", json_number_or_null(inertia));
	return *result ? 0 : error_no_memory(error);
}
