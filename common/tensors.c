#include "common/tensors.h"

#include "common/json.h"
#include "common/scan.h"
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

/* What is read of a header before anything in it is believed. */
struct reading {
	struct scan scan;
	struct tensors *tensors;
	uint64_t data_size;
	size_t extents; /* in `shapes` so far */
	struct rounds_error *error;
};

/* As `refuse`, for what the scanner has found wrong. */
static int refuse_json(const struct rounds_error *fault, struct rounds_error *error)
{
	return refuse(error, NULL, fault->message);
}

/* Between the members of an object or array: true if there is one more; *failed if there is rubbish. */
static bool more(struct reading *reading, char closing, size_t already, bool *failed)
{
	struct rounds_error fault;

	if (scan_take(&reading->scan, closing))
		return false;
	if (!already || !scan_expect(&reading->scan, ',', &fault))
		return true;
	*failed = true;
	refuse_json(&fault, reading->error);
	return false;
}

/* A member's name and its colon. */
static int read_name(struct reading *reading, const char **name)
{
	struct rounds_error fault;

	return scan_text(&reading->scan, name, &fault) || scan_expect(&reading->scan, ':', &fault)
		       ? refuse_json(&fault, reading->error)
		       : 0;
}

static int read_dtype(struct reading *reading, struct tensor *tensor)
{
	struct rounds_error fault;
	char *room = reading->scan.room;
	const char *name = "";

	if (scan_peek(&reading->scan) == '"' && scan_text(&reading->scan, &name, &fault))
		return refuse_json(&fault, reading->error);
	reading->scan.room = room; /* not kept */
	if (dtype_parse(name, &tensor->dtype))
		return 0;
	return refuse(
		reading->error, tensor->name, "\"dtype\" is not one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL");
}

static int read_shape(struct reading *reading, struct tensor *tensor)
{
	uint64_t *shape = reading->tensors->shapes + reading->extents;
	bool failed = false;

	tensor->shape = shape;
	tensor->count = 1;
	if (!scan_take(&reading->scan, '['))
		return refuse(reading->error, tensor->name, "\"shape\" must be an array of at most 32 extents");
	while (more(reading, ']', tensor->rank, &failed)) {
		if (tensor->rank == TENSORS_RANK_LIMIT)
			return refuse(
				reading->error, tensor->name, "\"shape\" must be an array of at most 32 extents");
		if (!scan_size(&reading->scan, &shape[tensor->rank]))
			return refuse(reading->error, tensor->name, "\"shape\" holds something that is not a size");
		if (__builtin_mul_overflow(tensor->count, shape[tensor->rank++], &tensor->count))
			return refuse(reading->error, tensor->name, "\"shape\" is too large");
	}
	reading->extents += tensor->rank;
	return failed ? -1 : 0;
}

static int read_offsets(struct reading *reading, struct tensor *tensor)
{
	struct scan *scan = &reading->scan;
	uint64_t end = 0;

	if (!scan_take(scan, '[') || !scan_size(scan, &tensor->offset) || !scan_take(scan, ',') ||
		!scan_size(scan, &end) || !scan_take(scan, ']'))
		return refuse(reading->error, tensor->name, "\"data_offsets\" must be two offsets");
	if (tensor->offset > end || end > reading->data_size)
		return refuse(reading->error, tensor->name, "\"data_offsets\" lie outside the file");
	tensor->size = end - tensor->offset;
	return 0;
}

static const struct {
	const char *name;
	int (*read)(struct reading *reading, struct tensor *tensor);
} members[] = { { "dtype", read_dtype }, { "shape", read_shape }, { "data_offsets", read_offsets } };

/* Which of them it is; -1 for none. */
static int member_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (!strcmp(members[i].name, name))
			return (int)i;
	return -1;
}

static int read_tensor(struct reading *reading, const char *name)
{
	static const char rule[] = "must have \"dtype\", \"shape\" and \"data_offsets\" and nothing else";
	struct tensor *tensor = &reading->tensors->list[reading->tensors->count++];
	char *room = reading->scan.room;
	unsigned seen = 0;
	bool failed = false;
	const char *key;
	uint64_t size;

	tensor->name = name;
	if (!scan_take(&reading->scan, '{'))
		return refuse(reading->error, name, rule);
	while (more(reading, '}', seen, &failed)) {
		int member;

		if (read_name(reading, &key))
			return -1;
		member = member_find(key);
		reading->scan.room = room; /* not kept */
		if (member < 0 || seen & 1u << member)
			return refuse(reading->error, name, rule);
		seen |= 1u << member;
		if (members[member].read(reading, tensor))
			return -1;
	}
	if (failed)
		return -1;
	if (seen != (1u << ARRAY_SIZE(members)) - 1)
		return refuse(reading->error, name, rule);
	if (__builtin_mul_overflow(tensor->count, (uint64_t)dtype_size(tensor->dtype), &size) || size != tensor->size)
		return refuse(reading->error, name, "the size is not that of its shape and dtype");
	return 0;
}

static int read_metadata(struct reading *reading)
{
	json_t *metadata = json_object();
	struct rounds_error fault;
	char *room = reading->scan.room;
	bool failed = false;
	const char *key, *value, *begin = reading->scan.at;

	if (reading->tensors->metadata || !metadata) {
		json_decref(metadata);
		return refuse(reading->error, NULL, "duplicate \"__metadata__\"");
	}
	reading->tensors->metadata = metadata;
	if (!scan_take(&reading->scan, '{'))
		return refuse(reading->error, NULL, "\"__metadata__\" must be an object");
	while (more(reading, '}', json_object_size(metadata), &failed)) {
		if (read_name(reading, &key))
			return -1;
		if (scan_peek(&reading->scan) != '"')
			return refuse(reading->error, NULL, "\"__metadata__\" must map text to text");
		if (scan_text(&reading->scan, &value, &fault))
			return refuse_json(&fault, reading->error);
		if (json_object_get(metadata, key))
			return refuse(reading->error, NULL, "duplicate names in \"__metadata__\"");
		if (json_object_set_new(metadata, key, json_string(value)))
			return error_no_memory(reading->error);
		reading->scan.room = room; /* not kept */
		if (reading->scan.at - begin > TENSORS_METADATA_LIMIT)
			return refuse(reading->error, NULL, "\"__metadata__\" is larger than 4 MB");
	}
	return failed ? -1 : 0;
}

static int read_entries(struct reading *reading)
{
	struct scan *scan = &reading->scan;
	bool failed = false;
	size_t entries = 0;
	const char *name;

	if (!scan_take(scan, '{'))
		return refuse(reading->error, NULL, "the header does not begin with {");
	while (more(reading, '}', entries++, &failed))
		if (read_name(reading, &name) ||
			(strcmp(name, "__metadata__") != 0 ? read_tensor(reading, name) : read_metadata(reading)))
			return -1;
	if (failed)
		return -1;
	return scan_peek(scan) || scan->at < scan->end
		       ? refuse(reading->error, NULL, "not valid JSON: there is text behind the header's end")
		       : 0;
}

static size_t count_of(const char *text, size_t size, char character)
{
	size_t count = 0;

	for (size_t i = 0; i < size; i++)
		count += text[i] == character;
	return count;
}

/* Room for as many tensors and extents as so much punctuation can mean; pages that are not needed are never touched. */
static int read_header(
	struct tensors *tensors, const char *text, size_t size, uint64_t data_size, struct rounds_error *error)
{
	struct reading reading = { .tensors = tensors, .data_size = data_size, .error = error };
	size_t braces = count_of(text, size, '{');

	tensors->names = malloc(size + 1);
	tensors->list = calloc(braces + 1, sizeof(*tensors->list));
	tensors->by_name = calloc(braces + 1, sizeof(struct tensor *));
	tensors->shapes = calloc(count_of(text, size, ',') + braces + 1, sizeof(*tensors->shapes));
	if (!tensors->names || !tensors->list || !tensors->by_name || !tensors->shapes)
		return error_no_memory(error);
	reading.scan = (struct scan){ text, text, text + size, tensors->names };
	return read_entries(&reading);
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
	for (size_t i = 1; i < tensors->count; i++)
		if (!strcmp(tensors->by_name[i - 1]->name, tensors->by_name[i]->name))
			return refuse(error, tensors->by_name[i]->name, "duplicate name");
	return 0;
}

uint64_t tensors_header_length(const uint8_t *bytes, size_t size)
{
	uint64_t length = 0;

	for (int i = 7; size >= 8 && i >= 0; i--)
		length = length << 8 | bytes[i];
	return length;
}

int tensors_parse(
	const uint8_t *bytes, size_t size, uint64_t file_size, struct tensors **out, struct rounds_error *error)
{
	scoped(tensors_free) struct tensors *tensors = calloc(1, sizeof(*tensors));
	uint64_t length = tensors_header_length(bytes, size), data_size;

	if (!tensors)
		return error_no_memory(error);
	if (size < 8)
		return refuse(error, NULL, "it has fewer than 8 bytes");
	if (length > TENSORS_HEADER_LIMIT)
		return refuse(error, NULL, "the header is larger than 100 MB");
	if (length > size - 8)
		return refuse(error, NULL, "the header is longer than the file");
	if (length == 0 || bytes[8] != '{')
		return refuse(error, NULL, "the header does not begin with {");
	data_size = file_size - 8 - length;
	if (length > TENSORS_HEADER_FREE && length - TENSORS_HEADER_FREE > data_size)
		return refuse(error, NULL, "the header is far larger than its tensors");
	tensors->header_size = 8 + length;
	if (read_header(tensors, (const char *)bytes + 8, (size_t)length, data_size, error) ||
		check_layout(tensors, data_size, error))
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
	free(tensors->names);
	json_decref(tensors->metadata);
	free(tensors);
}

const struct tensor *tensors_find(const struct tensors *tensors, const char *name)
{
	struct tensor key = { .name = name }, *wanted = &key, **found;

	found = bsearch(&wanted, tensors->by_name, tensors->count, sizeof(struct tensor *), by_name);
	return found ? *found : NULL;
}

const char *tensors_metadata(const struct tensors *tensors, const char *key)
{
	return json_text_or(tensors->metadata, key, NULL);
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
