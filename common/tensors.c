#include "common/tensors.h"

#include "common/json.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>

static int refuse(struct rounds_error *error, const char *name, const char *what)
{
	if (!name)
		return error_set(error, ERROR_UNPROCESSABLE, "not a safetensors file: %s", what);
	error_set(error, ERROR_UNPROCESSABLE, "not a safetensors file: tensor \"%.100s\": %s", name, what);
	text_print(error->field, sizeof(error->field), "%.150s", name);
	return -1;
}

static int by_offset(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct tensor *const *)a)->name, (*(struct tensor *const *)b)->name);
}

static bool unsigned_value(const json_t *value, uint64_t *out)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*out = (uint64_t)json_integer_value(value);
	return true;
}

static int parse_shape(const json_t *shape, struct tensor *tensor, uint64_t *room, struct rounds_error *error)
{
	tensor->rank = json_array_size(shape);
	tensor->shape = room;
	tensor->count = 1;
	if (!json_is_array(shape) || tensor->rank > TENSORS_RANK_LIMIT)
		return refuse(error, tensor->name, "\"shape\" must be an array of at most 32 extents");
	for (size_t i = 0; i < tensor->rank; i++) {
		if (!unsigned_value(json_array_get(shape, i), &room[i]))
			return refuse(error, tensor->name, "\"shape\" holds something that is not a size");
		if (__builtin_mul_overflow(tensor->count, room[i], &tensor->count))
			return refuse(error, tensor->name, "\"shape\" is too large");
	}
	return 0;
}

static int parse_tensor(const char *name, const json_t *entry, uint64_t data_size, uint64_t *room,
	struct tensor *tensor, struct rounds_error *error)
{
	const json_t *offsets = json_object_get(entry, "data_offsets");
	const char *dtype = json_string_value(json_object_get(entry, "dtype"));
	uint64_t begin, end, size;

	tensor->name = name;
	if (!json_is_object(entry) || json_object_size(entry) != 3)
		return refuse(error, name, "must have \"dtype\", \"shape\" and \"data_offsets\" and nothing else");
	if (!dtype || !dtype_parse(dtype, &tensor->dtype))
		return refuse(error, name, "\"dtype\" is not one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL");
	if (parse_shape(json_object_get(entry, "shape"), tensor, room, error))
		return -1;
	if (json_array_size(offsets) != 2 || !unsigned_value(json_array_get(offsets, 0), &begin) ||
		!unsigned_value(json_array_get(offsets, 1), &end))
		return refuse(error, name, "\"data_offsets\" must be two offsets");
	if (begin > end || end > data_size)
		return refuse(error, name, "\"data_offsets\" lie outside the file");
	if (__builtin_mul_overflow(tensor->count, (uint64_t)dtype_size(tensor->dtype), &size) || size != end - begin)
		return refuse(error, name, "the size is not that of its shape and dtype");
	tensor->offset = begin;
	tensor->size = size;
	return 0;
}

static int check_metadata(const json_t *metadata, struct rounds_error *error)
{
	const char *key;
	json_t *value;

	if (metadata && !json_is_object(metadata))
		return refuse(error, NULL, "\"__metadata__\" must be an object");
	json_object_foreach ((json_t *)(uintptr_t)metadata, key, value)
		if (!json_is_string(value))
			return refuse(error, NULL, "\"__metadata__\" must map text to text");
	return 0;
}

static int parse_entries(struct tensors *tensors, uint64_t data_size, struct rounds_error *error)
{
	const char *name;
	json_t *entry;
	size_t ranks = 0;

	json_object_foreach (tensors->header, name, entry)
		ranks += json_array_size(json_object_get(entry, "shape"));
	tensors->list = calloc(json_object_size(tensors->header) + 1, sizeof(*tensors->list));
	tensors->by_name = calloc(json_object_size(tensors->header) + 1, sizeof(struct tensor *));
	tensors->shapes = calloc(ranks + 1, sizeof(*tensors->shapes));
	if (!tensors->list || !tensors->by_name || !tensors->shapes)
		return error_no_memory(error);
	ranks = 0;
	json_object_foreach (tensors->header, name, entry) {
		struct tensor *tensor = &tensors->list[tensors->count];

		if (!strcmp(name, "__metadata__"))
			continue;
		if (parse_tensor(name, entry, data_size, tensors->shapes + ranks, tensor, error))
			return -1;
		ranks += tensor->rank;
		tensors->count++;
	}
	return 0;
}

/* No overlap, no gap, nothing behind the last one. */
static int check_layout(struct tensors *tensors, uint64_t data_size, struct rounds_error *error)
{
	uint64_t expected = 0;

	qsort(tensors->list, tensors->count, sizeof(*tensors->list), by_offset);
	for (size_t i = 0; i < tensors->count; i++) {
		struct tensor *tensor = &tensors->list[i];

		if (tensor->offset < expected)
			return refuse(error, tensor->name, "its bytes overlap those of another tensor");
		if (tensor->offset > expected)
			return refuse(error, tensor->name, "there is a gap before its bytes");
		expected += tensor->size;
		tensor->offset += tensors->header_size;
		tensors->by_name[i] = tensor;
	}
	if (expected != data_size)
		return refuse(error, NULL, "there are bytes behind the last tensor");
	qsort(tensors->by_name, tensors->count, sizeof(struct tensor *), by_name);
	return 0;
}

int tensors_parse(
	const uint8_t *bytes, size_t size, uint64_t file_size, struct tensors **out, struct rounds_error *error)
{
	scoped(tensors_free) struct tensors *tensors = calloc(1, sizeof(*tensors));
	uint64_t length = 0;
	struct rounds_error json_error;

	if (!tensors)
		return error_no_memory(error);
	if (size < 8)
		return refuse(error, NULL, "it has fewer than 8 bytes");
	for (int i = 7; i >= 0; i--)
		length = length << 8 | bytes[i];
	if (length > TENSORS_HEADER_LIMIT)
		return refuse(error, NULL, "the header is larger than 100 MB");
	if (length > size - 8)
		return refuse(error, NULL, "the header is longer than the file");
	if (length == 0 || bytes[8] != '{')
		return refuse(error, NULL, "the header does not begin with {");
	if (json_parse((const char *)bytes + 8, (size_t)length, &tensors->header, &json_error))
		return refuse(error, NULL, json_error.message);
	tensors->header_size = 8 + length;
	if (check_metadata(json_object_get(tensors->header, "__metadata__"), error) ||
		parse_entries(tensors, file_size - tensors->header_size, error) ||
		check_layout(tensors, file_size - tensors->header_size, error))
		return -1;
	*out = tensors;
	tensors = NULL;
	return 0;
}

void tensors_free(struct tensors *tensors)
{
	if (!tensors)
		return;
	free(tensors->list);
	free(tensors->by_name);
	free(tensors->shapes);
	json_decref(tensors->header);
	free(tensors);
}

const struct tensor *tensors_find(const struct tensors *tensors, const char *name)
{
	struct tensor key = { .name = name }, *wanted = &key, **found;

	found = bsearch(&wanted, tensors->by_name, tensors->count, sizeof(struct tensor *), by_name);
	return found ? *found : NULL;
}

json_t *tensors_describe(const struct tensors *tensors)
{
	json_t *list = json_array();

	for (size_t i = 0; i < tensors->count; i++) {
		const struct tensor *tensor = &tensors->list[i];
		json_t *shape = json_array();

		for (size_t j = 0; j < tensor->rank; j++)
			json_array_append_new(shape, json_integer((json_int_t)tensor->shape[j]));
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:o, s:I}", "name", tensor->name, "dtype",
				      dtype_name(tensor->dtype), "shape", shape, "bytes", (json_int_t)tensor->size));
	}
	return list;
}

int tensor_file_of(const struct view *view, struct tensor_file *file, struct rounds_error *error)
{
	if (tensors_parse(view->bytes, view->size, view->size, &file->tensors, error))
		return -1;
	file->view = view_borrow(view);
	return 0;
}

int tensor_file_open(const char *path, struct tensor_file *file, struct rounds_error *error)
{
	scoped(view_release) struct view view = { 0 };

	if (view_of_file(path, &view, error) || tensor_file_of(&view, file, error))
		return -1;
	file->view = view;
	view = (struct view){ 0 };
	return 0;
}

void tensor_file_close(struct tensor_file file)
{
	view_release(file.view);
	tensors_free(file.tensors);
}

int tensors_header(const struct tensor_plan *plan, size_t count, const json_t *metadata, uint8_t **bytes,
	size_t *size, struct rounds_error *error)
{
	json_auto_t *header = json_object();
	scoped(text_free) char *text = NULL;
	uint64_t at = 0;
	size_t length, padded;

	if (metadata)
		json_object_set(header, "__metadata__", (json_t *)(uintptr_t)metadata);
	for (size_t i = 0; i < count; i++) {
		json_t *shape = json_array();
		uint64_t end = dtype_size(plan[i].dtype);

		for (size_t j = 0; j < plan[i].rank; j++) {
			json_array_append_new(shape, json_integer((json_int_t)plan[i].shape[j]));
			end *= plan[i].shape[j];
		}
		end += at;
		json_object_set_new(header, plan[i].name,
			json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype_name(plan[i].dtype), "shape", shape,
				"data_offsets", (json_int_t)at, (json_int_t)end));
		at = end;
	}
	text = json_dumps(header, JSON_COMPACT);
	if (!text)
		return error_no_memory(error);
	length = strlen(text);
	padded = (length + 7) / 8 * 8;
	*bytes = malloc(8 + padded);
	if (!*bytes)
		return error_no_memory(error);
	for (int i = 0; i < 8; i++)
		(*bytes)[i] = (uint8_t)((uint64_t)padded >> (8 * i));
	memcpy(*bytes + 8, text, length);
	memset(*bytes + 8 + length, ' ', padded - length);
	*size = 8 + padded;
	return 0;
}
