#include "common/seal/record.h"

#include "common/text.h"

#include <string.h>

enum { FIELD_HEAD = 1 + 4, INTEGER_SIZE = 8 };

static void put_number(uint8_t *out, uint64_t number, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(number >> 8 * (size - 1 - i));
}

static uint64_t get_number(const uint8_t *bytes, size_t size)
{
	uint64_t number = 0;

	for (size_t i = 0; i < size; i++)
		number = number << 8 | bytes[i];
	return number;
}

/* How many bytes a field's value takes; text that fills its array has no NUL and is none. */
static int value_size(const struct record_field *field, const char *value, size_t *size, struct rounds_error *error)
{
	*size = field->kind == RECORD_INTEGER ? INTEGER_SIZE : field->size;
	if (field->kind != RECORD_TEXT)
		return 0;
	*size = strnlen(value, field->size);
	if (*size == field->size || !text_is_utf8(value, *size))
		return error_field(error, field->name, "is no text that fits into a record");
	return 0;
}

int record_encode(const struct record *record, const void *value, uint8_t out[RECORD_LIMIT], size_t *size,
	struct rounds_error *error)
{
	size_t used = strlen(record->domain), length;

	out[0] = (uint8_t)used;
	memcpy(out + 1, record->domain, used++);
	for (const struct record_field *field = record->fields; field->name; field++) {
		const char *member = (const char *)value + field->offset;
		uint64_t number;

		if (value_size(field, member, &length, error))
			return -1;
		if (RECORD_LIMIT - used < FIELD_HEAD + length)
			return error_field(error, field->name, "makes the record too long");
		out[used] = (uint8_t)(field - record->fields + 1);
		put_number(out + used + 1, length, 4);
		used += FIELD_HEAD;
		if (field->kind == RECORD_INTEGER) {
			memcpy(&number, member, sizeof(number));
			put_number(out + used, number, INTEGER_SIZE);
		} else {
			memcpy(out + used, member, length);
		}
		used += length;
	}
	*size = used;
	return 0;
}

static bool value_fits(const struct record_field *field, const uint8_t *bytes, size_t size)
{
	if (field->kind == RECORD_TEXT)
		return size < field->size && !memchr(bytes, 0, size) && text_is_utf8((const char *)bytes, size);
	return size == (field->kind == RECORD_INTEGER ? INTEGER_SIZE : field->size);
}

/* Returns how many bytes the field took, or 0. */
static size_t field_decode(const struct record_field *field, uint8_t place, struct span rest, char *member)
{
	const uint8_t *bytes = rest.bytes;
	uint64_t number;
	size_t size;

	if (rest.size < FIELD_HEAD || bytes[0] != place)
		return 0;
	size = (size_t)get_number(bytes + 1, 4);
	if (size > rest.size - FIELD_HEAD || !value_fits(field, bytes + FIELD_HEAD, size))
		return 0;
	number = get_number(bytes + FIELD_HEAD, field->kind == RECORD_INTEGER ? INTEGER_SIZE : 0);
	if (field->kind == RECORD_INTEGER)
		memcpy(member, &number, sizeof(number));
	else
		memcpy(member, bytes + FIELD_HEAD, size);
	return FIELD_HEAD + size;
}

int record_decode(const struct record *record, struct span bytes, void *value, struct rounds_error *error)
{
	size_t used = strlen(record->domain) + 1, taken;
	const uint8_t *all = bytes.bytes;

	memset(value, 0, record->size);
	if (bytes.size > RECORD_LIMIT || bytes.size < used || all[0] != used - 1 ||
		memcmp(all + 1, record->domain, used - 1) != 0)
		return error_set(error, ERROR_INVALID, "this is no \"%s\"", record->domain);
	for (const struct record_field *field = record->fields; field->name; field++) {
		taken = field_decode(field, (uint8_t)(field - record->fields + 1),
			(struct span){ all + used, bytes.size - used }, (char *)value + field->offset);
		if (!taken)
			return error_field(error, field->name, "is not as a \"%s\" has it", record->domain);
		used += taken;
	}
	if (used != bytes.size)
		return error_set(error, ERROR_INVALID, "there are bytes behind the end of a \"%s\"", record->domain);
	return 0;
}

int record_sign(const struct record *record, const void *value, const struct secret_key *secret,
	uint8_t out[RECORD_LIMIT], size_t *size, struct rounds_error *error)
{
	if (record_encode(record, value, out, size, error))
		return -1;
	if (RECORD_LIMIT - *size < SIGNATURE_SIZE)
		return error_set(error, ERROR_INVALID, "a \"%s\" is too long to be signed", record->domain);
	if (signature_make(secret, (struct span){ out, *size }, out + *size, error))
		return -1;
	*size += SIGNATURE_SIZE;
	return 0;
}

int record_split(struct span whole, struct span *record, const uint8_t **signature, struct rounds_error *error)
{
	if (whole.size < SIGNATURE_SIZE || whole.size > RECORD_LIMIT)
		return error_set(error, ERROR_INVALID, "this is too short or too long for a signed record");
	*record = (struct span){ whole.bytes, whole.size - SIGNATURE_SIZE };
	*signature = (const uint8_t *)whole.bytes + record->size;
	return 0;
}
