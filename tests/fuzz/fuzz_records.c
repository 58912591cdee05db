/* Records have one form: what is read is written again as the same bytes. Nor do letters and statements of keys break a reader. */
#include "common/seal/letter.h"
#include "common/seal/site_keys.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct note {
	char name[16];
	uint64_t number;
	uint8_t bytes[4];
};

static const struct record_field fields[] = {
	RECORD_FIELD(RECORD_TEXT, struct note, name),
	RECORD_FIELD(RECORD_INTEGER, struct note, number),
	RECORD_FIELD(RECORD_BYTES, struct note, bytes),
	{ NULL },
};
static const struct record note_record = { "note 1", fields, sizeof(struct note) };

static void read_note(const uint8_t *bytes, size_t size)
{
	struct note note;
	struct rounds_error error;
	uint8_t again[RECORD_LIMIT];
	size_t written;

	if (record_decode(&note_record, (struct span){ bytes, size }, &note, &error))
		return;
	if (record_encode(&note_record, &note, again, &written, &error) || written != size ||
		memcmp(again, bytes, size) != 0)
		abort();
}

static void read_letter(const uint8_t *bytes, size_t size)
{
	struct letter_bytes letter = { .size = size };
	struct letter read;
	struct rounds_error error;

	if (size > sizeof(letter.bytes))
		return;
	memcpy(letter.bytes, bytes, size);
	if (letter_read(&letter, &read, &error) == 0 && strlen(read.sender) >= sizeof(read.sender))
		abort();
}

static void read_statement(const uint8_t *bytes, size_t size)
{
	struct statement statement = { .size = size };
	struct site_keys keys;
	struct rounds_error error;

	if (size > sizeof(statement.bytes))
		return;
	memcpy(statement.bytes, bytes, size);
	if (statement_read(&statement, &keys, &error) == 0 && keys.generation == 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	read_note(bytes, size);
	read_letter(bytes, size);
	read_statement(bytes, size);
	return 0;
}
