/* The encoding of common/quantised.h as a source: what it gives are floats. */
#include "common/quantised.h"

#include "common/text.h"
#include "server/aggregate/source.h"

#include <stdlib.h>
#include <string.h>

/* What the file holds of the source's tensors: two for each, the second NULL where it is plain. */
enum { NUMBERS, SCALES, PARTS };

static const struct tensor *part(const struct source *source, const struct tensor *tensor, int which)
{
	return source->parts[PARTS * (size_t)(tensor - source->tensors->list) + (size_t)which];
}

static int want(const struct source *source, const struct tensor *tensor, uint64_t from, size_t count,
	struct rounds_error *error)
{
	const struct tensor *numbers = part(source, tensor, NUMBERS), *scales = part(source, tensor, SCALES);
	size_t width = dtype_size(numbers->dtype);
	uint64_t begin = scales ? scales->offset + from / QUANTISED_BLOCK * sizeof(float) : 0;
	uint64_t end = scales ? scales->offset +
					(from + count + QUANTISED_BLOCK - 1) / QUANTISED_BLOCK * sizeof(float)
			      : 0;

	return view_want(&source->file.view, numbers->offset + from * width, numbers->offset + (from + count) * width,
		       error) ||
			       view_want(&source->file.view, begin, end, error)
		       ? -1
		       : 0;
}

static bool needs_room(const struct source *source, const struct tensor *tensor)
{
	return part(source, tensor, SCALES) || source_dtype(tensor->dtype) != tensor->dtype;
}

static const uint8_t *load(
	const struct source *source, const struct tensor *tensor, uint64_t from, size_t count, float *room)
{
	const struct tensor *numbers = part(source, tensor, NUMBERS), *scales = part(source, tensor, SCALES);
	const uint8_t *file = source->file.view.bytes, *bytes = file + numbers->offset;

	if (scales)
		quantised_load((const int8_t *)bytes, file + scales->offset, from, count, room);
	else if (needs_room(source, tensor))
		dtype_load_floats(tensor->dtype, bytes + from * dtype_size(tensor->dtype), count, room);
	else
		return bytes + from * dtype_size(tensor->dtype);
	return (const uint8_t *)room;
}

static bool names_scales(const char *name)
{
	size_t length = strlen(name), suffix = strlen(QUANTISED_SCALES);

	return length > suffix && !strcmp(name + length - suffix, QUANTISED_SCALES);
}

static int refuse(const struct tensor *numbers, uint64_t blocks, struct rounds_error *error)
{
	error_set(error, ERROR_UNPROCESSABLE,
		"tensor \"%.100s\" is not in 8-bit blocks: it must be I8, with %llu scales of F32", numbers->name,
		(unsigned long long)blocks);
	text_print(error->field, sizeof(error->field), "%.150s", numbers->name);
	return -1;
}

/* The scales that belong to a tensor of the file; NULL: it is plain. */
static int find_scales(const struct tensors *held, const struct tensor *numbers, const struct tensor **scales,
	struct rounds_error *error)
{
	scoped(text_free) char *name = text_new("%s" QUANTISED_SCALES, numbers->name);
	uint64_t blocks = numbers->count / QUANTISED_BLOCK + (numbers->count % QUANTISED_BLOCK != 0);

	if (!name)
		return error_no_memory(error);
	*scales = tensors_find(held, name);
	if (*scales && (numbers->dtype != DTYPE_I8 || (*scales)->dtype != DTYPE_F32 || (*scales)->rank != 1 ||
			       (*scales)->count != blocks))
		return refuse(numbers, blocks, error);
	return 0;
}

/* The tensors that the file means, as the header of a plain file has them. */
static int find_meant(struct source *source, struct tensor_plan *plan, struct rounds_error *error)
{
	const struct tensors *held = source->file.tensors;
	size_t count = 0, with_scales = 0, size;
	uint8_t *header = NULL;
	uint64_t bytes = 0;
	int failed;

	for (size_t i = 0; i < held->count; i++) {
		const struct tensor *tensor = &held->list[i], *scales;
		enum dtype dtype;

		if (names_scales(tensor->name))
			continue;
		if (find_scales(held, tensor, &scales, error))
			return -1;
		with_scales += scales != NULL;
		dtype = scales ? DTYPE_F32 : tensor->dtype;
		plan[count++] = (struct tensor_plan){ tensor->name, dtype, tensor->rank, tensor->shape };
		bytes += tensor->count * dtype_size(dtype);
	}
	if (count + with_scales != held->count)
		return error_set(error, ERROR_UNPROCESSABLE, "there are scales of a tensor that is not there");
	failed = tensors_header(plan, count, NULL, &header, &size, error) ||
		 tensors_parse(header, size, size + bytes, &source->tensors, error);
	free(header);
	return failed ? -1 : 0;
}

static int find_parts(struct source *source, struct rounds_error *error)
{
	for (size_t i = 0; i < source->tensors->count; i++) {
		const struct tensor **parts = source->parts + PARTS * i;

		parts[NUMBERS] = tensors_find(source->file.tensors, source->tensors->list[i].name);
		if (find_scales(source->file.tensors, parts[NUMBERS], &parts[SCALES], error))
			return -1;
	}
	return 0;
}

static int open(struct source *source, struct rounds_error *error)
{
	size_t count = source->file.tensors->count;
	scoped(free) void *plan = calloc(count + 1, sizeof(struct tensor_plan));

	source->want = want;
	source->load = load;
	source->needs_room = needs_room;
	source->parts = calloc(PARTS * count + 1, sizeof(const struct tensor *));
	if (!plan || !source->parts)
		return error_no_memory(error);
	return find_meant(source, plan, error) || find_parts(source, error) ? -1 : 0;
}

const struct encoding encoding_quantised = { .name = QUANTISED_ENCODING, .open = open };
