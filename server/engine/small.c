/*
 * Small files travel inside the JSON that speaks of them, in base64: for small models requests are most of the time. What a task is
 * given comes with it, what a result brings in the result; either may come the usual way as well.
 */
#include "server/engine/internal.h"

#include "common/artifact.h"
#include "common/json.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* Bytes of one file, and of all that one message carries. */
enum { SMALL = 12 * 1024, SMALL_ALL = 64 * 1024, SMALL_TEXT = 4 * (SMALL / 3 + 1) };

/* The file as text, if it is small and there is room: a new reference, or NULL. */
static json_t *small_file(struct engine *engine, const char *text, size_t *room)
{
	scoped(view_release) struct view view = { 0 };
	char encoded[SMALL_TEXT + 1];
	struct digest digest;
	struct rounds_error error;

	if (!digest_parse(text, &digest) || blob_hold(engine->options.blobs, &digest, &view, &error) ||
		view.size > SMALL || view.size > *room || view_want(&view, 0, view.size, &error))
		return NULL;
	*room -= view.size;
	EVP_EncodeBlock((unsigned char *)encoded, view.bytes, (int)view.size);
	return json_string(encoded);
}

void small_files_add(struct engine *engine, json_t *task)
{
	json_t *files = json_object_get(task, "files"), *file, *data;
	size_t room = SMALL_ALL;
	const char *name;

	json_object_foreach (files, name, file)
		if (json_integer_or(file, "size", 0) <= SMALL &&
			(data = small_file(engine, json_text_or(file, "digest", ""), &room)))
			json_object_set_new(file, "data", data);
	/* Protocol 1 has one that may. */
	if (!files && (data = small_file(engine, json_text_or(task, "model", ""), &room)))
		json_object_set_new(task, "model_data", data);
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
