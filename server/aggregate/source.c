#include "server/aggregate/source.h"

#include "common/quantised.h"

#include <string.h>

enum dtype source_dtype(enum dtype dtype)
{
	return dtype == DTYPE_F64 || dtype == DTYPE_I64 || dtype == DTYPE_I32 ? dtype : DTYPE_F32;
}

static int plain_want(const struct source *source, const struct tensor *tensor, uint64_t from, size_t count,
	struct rounds_error *error)
{
	size_t width = dtype_size(tensor->dtype);

	return view_want(
		&source->file.view, tensor->offset + from * width, tensor->offset + (from + count) * width, error);
}

static bool plain_needs_room(const struct source *source, const struct tensor *tensor)
{
	(void)source;
	return source_dtype(tensor->dtype) != tensor->dtype;
}

static const uint8_t *plain_load(
	const struct source *source, const struct tensor *tensor, uint64_t from, size_t count, float *room)
{
	const uint8_t *bytes = source->file.view.bytes + tensor->offset + from * dtype_size(tensor->dtype);

	if (!plain_needs_room(source, tensor))
		return bytes;
	dtype_load_floats(tensor->dtype, bytes, count, room);
	return (const uint8_t *)room;
}

int source_open(
	const struct view *view, const struct encoding *encoding, struct source *source, struct rounds_error *error)
{
	const char *said;

	*source = (struct source){ .want = plain_want, .load = plain_load, .needs_room = plain_needs_room };
	if (tensor_file_of(view, &source->file, error))
		return -1;
	source->tensors = source->file.tensors;
	if (!encoding)
		return 0;
	said = tensors_metadata(source->file.tensors, ENCODING_KEY);
	if (!said || strcmp(said, encoding->name) != 0)
		return error_set(error, ERROR_UNPROCESSABLE, "the file does not say that it is encoded as \"%s\"",
			encoding->name);
	return encoding->open(source, error);
}

void source_close(struct source source)
{
	if (source.tensors != source.file.tensors)
		tensors_free(source.tensors);
	tensor_file_close(source.file);
	free(source.parts);
}
