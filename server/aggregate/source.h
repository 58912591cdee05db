/*
 * An input of an aggregation: tensors that are read stretch by stretch. A source gives the elements that are meant, whatever
 * stands in the file: a dtype is widened, a quantised tensor multiplied out, into room that the reader lends. Floats that lie in
 * the file as they are meant are not touched: the reader gets them where they are.
 *
 * An encoding is a row that opens a source over a file; a new one is a new file in this folder. (A stage on a stream, as h2o's
 * filters are.)
 */
#ifndef ROUNDS_SERVER_AGGREGATE_SOURCE_H
#define ROUNDS_SERVER_AGGREGATE_SOURCE_H

#include "common/tensors.h"

struct source {
	struct tensor_file file;
	struct tensors *tensors; /* what the file means; where it is plain, the file's own */
	/*
	 * `tensor` is one of the source's. Elements `from` to `from + count` will be read now: ERROR_IO if they cannot be.
	 */
	int (*want)(const struct source *source, const struct tensor *tensor, uint64_t from, size_t count,
		struct rounds_error *error);
	/* The elements as source_dtype() has them, where they lie (not aligned) or in `room`. Several threads at once. */
	const uint8_t *(*load)(
		const struct source *source, const struct tensor *tensor, uint64_t from, size_t count, float *room);
	/* Whether load() fills the room. */
	bool (*needs_room)(const struct source *source, const struct tensor *tensor);
	const struct tensor *
		*parts; /* an encoding's own: what the file holds of each tensor; freed with the source */
};

struct encoding {
	const char *name; /* what a file's metadata says under ENCODING_KEY (common/quantised.h) */
	/* The file is open; fills in the rest. */
	int (*open)(struct source *source, struct rounds_error *error);
};

extern const struct encoding encoding_quantised;

/*
 * `encoding` NULL: the file is plain. The view is borrowed, and released by whoever gave it after the source is closed. A source
 * is to be closed even if it could not be opened. ERROR_UNPROCESSABLE if the file is not so encoded.
 */
must_check int source_open(
	const struct view *view, const struct encoding *encoding, struct source *source, struct rounds_error *error);
void source_close(struct source source);
DEFINE_CLEANUP(struct source, source_close);

/* In what type the elements of a tensor are given: F32 if each of its values is one. */
enum dtype source_dtype(enum dtype dtype);

#endif
