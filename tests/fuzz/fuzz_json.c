/* JSON from outside, through the check of a job's fields: a copy with defaults or faults, never both, never neither. */
#include "common/fields.h"
#include "common/json.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct field inner[] = {
	{ "path", FIELD_TEXT, "A path", .required = true, .min = 1, .max = 9 },
	{ NULL },
};

static const struct field fields[] = {
	{ "name", FIELD_NAME, "A name" },
	{ "n", FIELD_INTEGER, "A number", .fallback = "3", .min = -5, .max = 1e9 },
	{ "x", FIELD_NUMBER, "A number", .min = 0, .max = 1 },
	{ "t", FIELD_TEXT, "A text", .choices = { "a", "b" } },
	{ "l", FIELD_NAMES, "A list", .min = 0, .max = 3 },
	{ "s", FIELD_TEXTS, "A list", .min = 0, .max = 3 },
	{ "d", FIELD_DIGEST, "A digest" },
	{ "o", FIELD_OBJECT, "An object", .nested = inner },
	{ "m", FIELD_MAP, "A map", .nested = inner },
	{ NULL },
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	json_auto_t *value = NULL, *faults = json_array(), *checked = NULL;
	struct rounds_error error = { 0 };

	if (json_parse((const char *)bytes, size, &value, &error)) {
		if (!error.message[0])
			abort();
		return 0;
	}
	checked = fields_apply(fields, value, "", faults);
	if (!checked == !json_array_size(faults))
		abort();
	if (!checked && !fields_error(faults, &error))
		abort();
	return 0;
}
