#include "client/trainers/dataset.h"

#include "common/dtype.h"
#include "common/failure.h"
#include "common/json.h"
#include "common/view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct npy {
	enum dtype dtype;
	size_t rows, columns; /* columns 1 for a vector */
	const uint8_t *bytes;
};

static const struct {
	const char *descr;
	enum dtype dtype;
} types[] = {
	{ "<f8", DTYPE_F64 },
	{ "<f4", DTYPE_F32 },
	{ "<f2", DTYPE_F16 },
	{ "<i8", DTYPE_I64 },
	{ "<i4", DTYPE_I32 },
	{ "<i2", DTYPE_I16 },
	{ "|i1", DTYPE_I8 },
	{ "|u1", DTYPE_U8 },
	{ "|b1", DTYPE_BOOL },
};

static int refuse(struct rounds_error *error, const char *what)
{
	return failure_error(error, FAILURE_DATASET, "", 0, 0, "not an NPY file that can be used: %s", what);
}

/* The text behind 'key': in the header's Python dictionary, or NULL. */
static const char *value_of(const char *header, const char *key)
{
	const char *at = strstr(header, key);

	at = at ? strchr(at, ':') : NULL;
	return at ? at + 1 + strspn(at + 1, " ") : NULL;
}

static int parse_header(const char *header, struct npy *npy, struct rounds_error *error)
{
	const char *descr = value_of(header, "'descr'"), *order = value_of(header, "'fortran_order'");
	const char *shape = value_of(header, "'shape'");
	unsigned long long rows = 0, columns = 0;
	size_t type = 0;
	int found;

	if (!descr || !order || !shape)
		return refuse(error, "its header is incomplete");
	while (type < ARRAY_SIZE(types) && (!*descr || strncmp(descr + 1, types[type].descr, 3) != 0))
		type++;
	if (type == ARRAY_SIZE(types))
		return refuse(error, "its elements must be little-endian numbers");
	if (strncmp(order, "False", 5) != 0)
		return refuse(error, "it must be in C order");
	found = sscanf(shape, "(%llu, %llu)", &rows, &columns);
	if (found < 1 || strchr(shape, ')') == NULL || rows > SIZE_MAX / 64 ||
		(found == 2 && columns > SIZE_MAX / 64))
		return refuse(error, "it must be a vector or a matrix");
	npy->dtype = types[type].dtype;
	npy->rows = (size_t)rows;
	npy->columns = found == 2 ? (size_t)columns : 1;
	return 0;
}

static int read_npy(const char *path, struct view *view, struct npy *npy, struct rounds_error *error)
{
	scoped(text_free) char *header = NULL;
	size_t start, length, count, size;

	if (view_of_file(path, view, NULL))
		return refuse(error, "it cannot be opened");
	if (view->size < 12 || memcmp(view->bytes, "\x93NUMPY", 6) != 0 || view->bytes[6] < 1 || view->bytes[6] > 2)
		return refuse(error, "it does not begin as one");
	start = view->bytes[6] == 1 ? 10 : 12;
	length = (size_t)view->bytes[8] | (size_t)view->bytes[9] << 8;
	if (start == 12)
		length |= (size_t)view->bytes[10] << 16 | (size_t)view->bytes[11] << 24;
	if (length > view->size - start)
		return refuse(error, "its header is longer than the file");
	header = strndup((const char *)view->bytes + start, length);
	if (!header)
		return error_no_memory(error);
	if (parse_header(header, npy, error))
		return -1;
	if (__builtin_mul_overflow(npy->rows, npy->columns, &count) ||
		__builtin_mul_overflow(count, dtype_size(npy->dtype), &size) || size != view->size - start - length)
		return refuse(error, "its size is not that of its shape");
	npy->bytes = view->bytes + start + length;
	return 0;
}

/* `role` says which member of the dataset's description names the file. */
static int open_npy(
	const json_t *description, const char *role, struct view *view, struct npy *npy, struct rounds_error *error)
{
	if (!read_npy(json_text_or(description, role, ""), view, npy, error))
		return 0;
	snprintf(error->field, sizeof(error->field), "%s", role);
	return -1;
}

/* All elements as floats: the caller frees; NULL without memory. */
static float *to_floats(const struct npy *npy)
{
	size_t count = npy->rows * npy->columns;
	float *floats = malloc((count + 1) * sizeof(float));
	double value;

	for (size_t i = 0; floats && i < count; i++) {
		dtype_load(npy->dtype, npy->bytes + i * dtype_size(npy->dtype), 1, &value);
		floats[i] = isfinite(value) ? (float)value : NAN;
	}
	return floats;
}

int npy_load(const json_t *description, struct dataset *dataset, struct rounds_error *error)
{
	scoped(view_release) struct view features_view = { 0 };
	scoped(view_release) struct view labels_view = { 0 };
	struct npy features, labels;

	if (!json_text_or(description, "labels", NULL))
		return failure_error(error, FAILURE_LABEL, "labels", 0, 0, "the dataset names no file of `labels`");
	if (open_npy(description, "path", &features_view, &features, error) ||
		open_npy(description, "labels", &labels_view, &labels, error))
		return -1;
	if (labels.columns != 1 || labels.rows != features.rows)
		return failure_error(error, FAILURE_LABEL, "labels", 0, 0,
			"there are %zu rows of features but %zu x %zu labels", features.rows, labels.rows,
			labels.columns);
	dataset->rows = features.rows;
	dataset->columns = features.columns;
	dataset->features = to_floats(&features);
	dataset->labels = to_floats(&labels);
	dataset->origins = calloc(features.rows + 1, sizeof(*dataset->origins));
	if (!dataset->features || !dataset->labels || !dataset->origins)
		return error_no_memory(error);
	for (size_t i = 0; i < features.rows; i++)
		dataset->origins[i] = i + 1;
	for (size_t i = 0; i < dataset->columns; i++)
		json_array_append_new(dataset->names, json_sprintf("x%zu", i));
	for (size_t i = 0; i < dataset->rows; i++)
		if (!isfinite(dataset->labels[i]))
			return failure_error(error, FAILURE_LABEL, "labels", i + 1, 0, "this label is not finite");
	return 0;
}
