/*
 * Small weights travel inside the JSON that speaks of them, in base64: for small models requests are most of the time. A model
 * comes with its task, an update with its result; either may come the usual way as well.
 */
#include "server/engine/internal.h"

#include "common/artifact.h"
#include "common/json.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { SMALL = 12 * 1024, SMALL_TEXT = 4 * (SMALL / 3 + 1) };

void small_model_add(struct engine *engine, json_t *task)
{
	scoped(view_release) struct view view = { 0 };
	char text[SMALL_TEXT + 1];
	struct digest digest;
	struct rounds_error error;

	if (!digest_parse(json_text_or(task, "model", ""), &digest) ||
		blob_hold(engine->options.blobs, &digest, &view, &error) || view.size > SMALL ||
		view_want(&view, 0, view.size, &error))
		return;
	EVP_EncodeBlock((unsigned char *)text, view.bytes, (int)view.size);
	json_object_set_new(task, "model_data", json_string(text));
}

int small_file_take(struct engine *engine, const char *name, const json_t *entry, struct draft **draft,
	struct rounds_error *error)
{
	const char *text = json_text_or(entry, "data", NULL);
	uint8_t bytes[SMALL_TEXT];
	struct digest digest, actual;
	char field[ARTIFACT_FIELD_SIZE];
	size_t length = text ? strlen(text) : 0;
	uint64_t size;
	int decoded;

	snprintf(field, sizeof(field), "files.%s.data", name);
	if (!json_object_get(entry, "data") || !digest_parse(json_text_or(entry, "digest", ""), &digest))
		return 0;
	if (length > SMALL_TEXT)
		return error_field(error, field, "may have at most 12 KB; upload a larger file");
	decoded = length % 4 || !text ? -1 : EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length);
	if (decoded <= 0)
		return error_field(error, field, "must be the file in base64");
	decoded -= (text[length - 1] == '=') + (text[length - 2] == '=');
	digest_of(bytes, (size_t)decoded, &actual);
	if (!digest_equal(&digest, &actual))
		return error_field(error, field, "does not have the digest that the file is named by");
	return draft_new(engine->options.blobs, draft, error) ||
			       sink_put(draft_sink(*draft), bytes, (size_t)decoded, 0, error) ||
			       draft_adopt(*draft, &actual, &size, error)
		       ? -1
		       : 0;
}
