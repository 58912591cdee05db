#include "client/trainers/sums.h"

#include "common/failure.h"
#include "common/json.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool make_room(struct sums *sums)
{
	size_t room = 2 * sums->room + 64;
	struct tensor_plan *plan;
	double **values;

	if (sums->count < sums->room)
		return true;
	plan = realloc(sums->plan, room * sizeof(*plan));
	sums->plan = plan ? plan : sums->plan;
	values = plan ? realloc(sums->values, room * sizeof(*values)) : NULL;
	sums->values = values ? values : sums->values;
	if (values)
		sums->room = room;
	return values != NULL;
}

double *sums_add(struct sums *sums, uint64_t rows, uint64_t columns, const char *format, ...)
{
	uint64_t *shape = calloc(2, sizeof(uint64_t));
	double *values = calloc((rows ? rows : 1) * (columns ? columns : 1), sizeof(double));
	char *name = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&name, format, arguments) < 0)
		name = NULL;
	va_end(arguments);
	if (!shape || !values || !name || !make_room(sums)) {
		free(shape);
		free(values);
		free(name);
		return NULL;
	}
	shape[0] = rows;
	shape[1] = columns;
	sums->plan[sums->count] = (struct tensor_plan){ name, DTYPE_F64, columns ? 2 : rows ? 1 : 0, shape };
	sums->values[sums->count++] = values;
	return values;
}

int sums_write(const struct sums *sums, const char *path, struct rounds_error *error)
{
	scoped(file_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	json_auto_t *metadata = json_pack(
		"{s:s*, s:s*}", SCHEMA_KEY, sums->schema, "rounds.covariates", sums->covariates);
	uint8_t *header;
	size_t size;
	int failed;

	if (fd < 0)
		return error_errno(error, "cannot create %s", path);
	if (tensors_header(
		    sums->plan, sums->count, json_object_size(metadata) ? metadata : NULL, &header, &size, error))
		return -1;
	failed = file_write_all(fd, header, size, error);
	free(header);
	for (size_t i = 0; !failed && i < sums->count; i++) {
		const struct tensor_plan *tensor = &sums->plan[i];
		size_t count = 1;

		for (size_t j = 0; j < tensor->rank; j++)
			count *= (size_t)tensor->shape[j];
		failed = file_write_all(fd, sums->values[i], count * sizeof(double), error);
	}
	return failed ? -1 : 0;
}

void sums_free(struct sums sums)
{
	for (size_t i = 0; i < sums.count; i++) {
		free((void *)(uintptr_t)sums.plan[i].name);
		free((void *)(uintptr_t)sums.plan[i].shape);
		free(sums.values[i]);
	}
	free(sums.plan);
	free(sums.values);
	free(sums.covariates);
}

int sums_find(const struct tensor_file *file, const char *name, uint64_t count, const double **values,
	struct rounds_error *error)
{
	const struct tensor *tensor = tensors_find(file->tensors, name);

	if (!tensor || tensor->dtype != DTYPE_F64 || tensor->count != count)
		return failure_error(error, FAILURE_MODEL, name, 0, 0,
			"the model does not fit the job's parameters and this site's data: \"%.100s\" is not there in F64 with %llu "
			"elements",
			name, (unsigned long long)count);
	*values = (const double *)(const void *)(file->view.bytes + tensor->offset);
	return 0;
}
