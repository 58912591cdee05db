/* Whatever bytes enter as text leave as UTF-8 that JSON takes; what is UTF-8 stays as it was. */
#include "common/json.h"
#include "common/text.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	scoped(text_free) char *whole = text_new_repaired((const char *)bytes, size);
	json_auto_t *value = json_text_n((const char *)bytes, size);
	struct rounds_error error;

	if (!whole || !text_is_utf8(whole, strlen(whole)) || !json_is_string(value))
		abort();
	if (text_is_utf8((const char *)bytes, size) && memcmp(whole, bytes, size) != 0)
		abort();
	for (size_t limit = 0; limit <= size && limit < 64; limit++) {
		size_t cut = text_cut(whole, strlen(whole), limit);

		if (cut > limit || !text_is_utf8(whole, cut))
			abort();
	}
	error_set(&error, ERROR_INVALID, "%.*s", (int)size, (const char *)bytes);
	if (!text_is_utf8(error.message, strlen(error.message)))
		abort();
	return 0;
}
