/*
 * Small weights travel inside the JSON that speaks of them, in base64: for small models requests are most of the time. A model
 * comes with its task, an update with its result; either may come the usual way as well.
 */
#include "server/engine/internal.h"

#include "common/file.h"
#include "common/json.h"

#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

enum { SMALL = 12 * 1024, SMALL_TEXT = 4 * (SMALL / 3 + 1) };

void small_model_add(struct engine *engine, json_t *task)
{
	scoped(file_close) int fd = -1;
	uint8_t bytes[SMALL];
	char text[SMALL_TEXT + 1];
	struct digest digest;
	struct rounds_error error;
	uint64_t size;

	if (!digest_parse(json_text_or(task, "model", ""), &digest) ||
		blob_open(engine->options.blobs, &digest, &fd, &size, &error) || size > SMALL ||
		pread(fd, bytes, (size_t)size, 0) != (ssize_t)size)
		return;
	EVP_EncodeBlock((unsigned char *)text, bytes, (int)size);
	json_object_set_new(task, "model_data", json_string(text));
}

int small_update_take(struct engine *engine, const json_t *result, uint64_t *size, struct rounds_error *error)
{
	const char *text = NULL, *named = json_text_or(result, "update", "");
	scoped(text_free) char *path = NULL;
	uint8_t bytes[SMALL_TEXT];
	struct digest digest, actual;
	size_t length;
	int decoded;

	*size = 0;
	if (json_get_text(result, "update_data", false, &text, error))
		return -1;
	if (!text || !digest_parse(named, &digest))
		return 0;
	length = strlen(text);
	if (length > SMALL_TEXT)
		return error_field(error, "update_data", "may have at most 12 KB; upload a larger update");
	decoded = length % 4 ? -1 : EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length);
	if (decoded <= 0)
		return error_field(error, "update_data", "must be the update in base64");
	decoded -= (text[length - 1] == '=') + (text[length - 2] == '=');
	digest_of(bytes, (size_t)decoded, &actual);
	if (!digest_equal(&digest, &actual))
		return error_field(error, "update_data", "does not have the digest that `update` names");
	path = blob_scratch(engine->options.blobs);
	if (!path)
		return error_no_memory(error);
	return file_put(path, bytes, (size_t)decoded, 0600, error) ||
			       blob_adopt(engine->options.blobs, path, &actual, size, error)
		       ? -1
		       : 0;
}
