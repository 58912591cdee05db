/*
 * Weights are safetensors files: 8 bytes of header length (little-endian), a JSON header, then the tensors'
 * bytes. The format is described at https://github.com/huggingface/safetensors.
 *
 * The reader trusts nothing and makes no tree: a header costs a few times its own size. A header over 100 MB, over the file or
 * far larger than the tensors, text that is not UTF-8, a name twice, offsets
 * that overlap or leave a gap, a size that is not shape times dtype, bytes behind the last tensor are all errors.
 */
#ifndef ROUNDS_COMMON_TENSORS_H
#define ROUNDS_COMMON_TENSORS_H

#include "common/dtype.h"
#include "common/error.h"
#include "common/file.h"
#include "common/view.h"

#include <jansson.h>
#include <stdint.h>

#define TENSORS_HEADER_LIMIT UINT64_C(100000000)
#define TENSORS_RANK_LIMIT   32
/* A header may be so much larger than the bytes of its tensors. */
#define TENSORS_HEADER_FREE    UINT64_C(16000000)
#define TENSORS_METADATA_LIMIT 4000000

struct tensor {
	const char *name; /* owned by the tensors */
	enum dtype dtype;
	size_t rank;
	const uint64_t *shape; /* rank extents */
	uint64_t count;        /* elements: the product of the shape */
	uint64_t offset;       /* of the first byte, from the beginning of the file */
	uint64_t size;         /* bytes */
};

struct tensors {
	size_t count;
	struct tensor *list;     /* in the order of their bytes */
	struct tensor **by_name; /* the same, sorted by name */
	uint64_t header_size;    /* bytes before the first tensor's */
	json_t *metadata;        /* "__metadata__", text to text; NULL if there is none */
	char *names;             /* all names, one behind the other */
	uint64_t *shapes;        /* all shapes, likewise */
};

/* What the file says that its header has, to be compared with a limit before it is parsed; 0 if it is too short. */
uint64_t tensors_header_length(const uint8_t *bytes, size_t size);

/* `bytes` holds at least the file's header; `file_size` is that of the whole file. */
must_check int tensors_parse(
	const uint8_t *bytes, size_t size, uint64_t file_size, struct tensors **tensors, struct rounds_error *error);
void tensors_free(struct tensors *tensors);
DEFINE_CLEANUP(struct tensors *, tensors_free);

/* NULL if there is none. */
const struct tensor *tensors_find(const struct tensors *tensors, const char *name);

/* What the file says of itself under this key, or NULL; borrowed. */
const char *tensors_metadata(const struct tensors *tensors, const char *key);
/* The key of what a model says of the table that it is trained on: a JSON object as text (client/trainers/schema.h). */
#define SCHEMA_KEY "rounds.schema"

/* [{"name", "dtype", "shape", "bytes"}, ...]: a new reference. */
json_t *tensors_describe(const struct tensors *tensors);

/* A file and its parsed header. */
struct tensor_file {
	struct view view;
	struct tensors *tensors;
};
must_check int tensor_file_open(const char *path, struct tensor_file *file, struct rounds_error *error);
/* The same of bytes that the caller holds, and releases after it. */
must_check int tensor_file_of(const struct view *view, struct tensor_file *file, struct rounds_error *error);
void tensor_file_close(struct tensor_file file);
DEFINE_CLEANUP(struct tensor_file, tensor_file_close);

/* What a writer says of each tensor, in the order in which it will write their bytes. */
struct tensor_plan {
	const char *name;
	enum dtype dtype;
	size_t rank;
	const uint64_t *shape;
};

/*
 * The bytes that stand before the first tensor, padded to a multiple of 8; `metadata` (text to text) may be NULL.
 * The caller frees *bytes, then writes it and the tensors' bytes in order: nothing larger is ever held.
 */
must_check int tensors_header(const struct tensor_plan *plan, size_t count, const json_t *metadata, uint8_t **bytes,
	size_t *size, struct rounds_error *error);

#endif
