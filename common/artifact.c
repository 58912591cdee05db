#include "common/artifact.h"

#include "common/digest.h"
#include "common/fields.h"
#include "common/json.h"

#include <stdio.h>
#include <string.h>

bool artifact_name_is_valid(const char *name)
{
	return name_is_valid(name) && !name[strcspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")];
}

/* jansson keeps a NUL inside text; what follows it would go unseen. */
static bool is_digest(const json_t *value)
{
	const char *text = json_string_value(value);
	struct digest digest;

	return text && strlen(text) == json_string_length(value) && digest_parse(text, &digest);
}

static int check_entry(const char *name, const json_t *entry, const char *field, struct rounds_error *error)
{
	const json_t *size = json_object_get(entry, "size");
	char at[ARTIFACT_FIELD_SIZE];

	snprintf(at, sizeof(at), "%s.%s", field, name);
	if (!json_is_object(entry))
		return error_field(error, at, "must be an object with the file's digest");
	snprintf(at, sizeof(at), "%s.%s.digest", field, name);
	if (!is_digest(json_object_get(entry, "digest")))
		return error_field(error, at, "must be sha256: and 64 hexadecimal digits");
	snprintf(at, sizeof(at), "%s.%s.size", field, name);
	if (size && !json_is_null(size) && (!json_is_integer(size) || json_integer_value(size) < 0))
		return error_field(error, at, "must be the file's size in bytes");
	return 0;
}

int artifacts_check(const json_t *files, const char *field, struct rounds_error *error)
{
	const char *name;
	json_t *entry;

	if (!json_is_object(files))
		return error_field(error, field, "must be an object of files by their names");
	if (json_object_size(files) > ARTIFACTS_MOST)
		return error_field(error, field, "may have at most %d files", ARTIFACTS_MOST);
	json_object_foreach ((json_t *)(uintptr_t)files, name, entry) {
		if (!artifact_name_is_valid(name))
			return error_field(error, field,
				"has a name that is not 1 to 63 of a-z, 0-9, _, . and -, beginning with a letter or "
				"digit");
		if (check_entry(name, entry, field, error))
			return -1;
	}
	return 0;
}

bool artifact_find(const json_t *files, const char *name, struct artifact *artifact)
{
	const json_t *entry = json_object_get(files, name);

	artifact->name = name;
	artifact->digest = json_text_or(entry, "digest", NULL);
	artifact->size = json_integer_or(entry, "size", -1);
	return artifact->digest != NULL;
}

const char *artifact_digest(const json_t *files, const char *name)
{
	return json_text_or(json_object_get(files, name), "digest", NULL);
}

bool artifacts_name(const json_t *files, const char *digest)
{
	const char *name;
	json_t *entry;

	json_object_foreach ((json_t *)(uintptr_t)files, name, entry)
		if (!strcmp(json_text_or(entry, "digest", ""), digest))
			return true;
	return false;
}

int artifact_put(json_t *files, const struct artifact *artifact)
{
	json_t *size = artifact->size < 0 ? json_null() : json_integer(artifact->size);

	return json_object_set_new(
		files, artifact->name, json_pack("{s:s, s:o}", "digest", artifact->digest, "size", size));
}
