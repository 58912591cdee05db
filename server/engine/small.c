/*
 * Small weights travel inside the JSON that speaks of them, in base64: for small models requests are most of the time. A model
 * comes with its task, an update with its result; either may come the usual way as well.
 */
#include "server/engine/internal.h"

#include "common/json.h"

#include <openssl/evp.h>
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

int small_update_take(
	struct engine *engine, const json_t *result, struct draft **draft, uint64_t *size, struct rounds_error *error)
{
	const char *text = NULL, *named = json_text_or(result, "update", "");
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
	return draft_new(engine->options.blobs, draft, error) ||
			       sink_put(draft_sink(*draft), bytes, (size_t)decoded, 0, error) ||
			       draft_adopt(*draft, &actual, size, error)
		       ? -1
		       : 0;
}
