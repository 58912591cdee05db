#include "client/trainers/dataset.h"

#include "client/trainers/columns.h"
#include "common/failure.h"
#include "common/json.h"

#include <string.h>

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && !strcasecmp(text + length - tail, end);
}

int dataset_load(const json_t *description, struct dataset **out, struct rounds_error *error)
{
	scoped(dataset_free) struct dataset *dataset = calloc(1, sizeof(*dataset));
	const char *path = json_text_or(description, "path", "");

	if (!dataset || !(dataset->names = json_array()))
		return error_no_memory(error);
	dataset->label = json_text_or(description, "label", NULL);
	dataset->class_names = json_incref(json_object_get(description, "classes"));
	dataset->classes = json_array_size(dataset->class_names);
	if (ends_with(path, ".npy") ? npy_load(description, dataset, error) : csv_load(description, dataset, error))
		return -1;
	if (dataset->rows == 0)
		return failure_error(error, FAILURE_DATASET, "path", 0, 0, "the table has no rows");
	if (dataset->columns == 0)
		return failure_error(error, FAILURE_DATASET, "path", 0, 0, "the table has no features");
	*out = dataset;
	dataset = NULL;
	return 0;
}

int dataset_column(const struct dataset *dataset, const char *name, size_t *column, struct rounds_error *error)
{
	size_t i;
	json_t *known;

	json_array_foreach (dataset->names, i, known)
		if (!strcmp(json_string_value(known), name)) {
			*column = i;
			return 0;
		}
	return failure_error(error, FAILURE_COLUMN, "path", 0, 0, "the dataset has no column \"%.100s\"", name);
}

void dataset_free(struct dataset *dataset)
{
	if (!dataset)
		return;
	free(dataset->features);
	free(dataset->labels);
	free(dataset->origins);
	json_decref(dataset->names);
	json_decref(dataset->format);
	json_decref(dataset->class_names);
	free(dataset->schema);
	columns_free(dataset->header, dataset->header_count);
	free(dataset);
}
