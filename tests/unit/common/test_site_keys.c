/* Records have one form; a site's keys follow on each other by signatures, or are a stranger's. */
#include "tests/unit/test.h"

#include "common/seal/fingerprint.h"
#include "common/seal/site_keys.h"

struct note {
	char name[8];
	uint64_t number;
	uint8_t bytes[3];
};

static const struct record_field note_fields[] = {
	RECORD_FIELD(RECORD_TEXT, struct note, name),
	RECORD_FIELD(RECORD_INTEGER, struct note, number),
	RECORD_FIELD(RECORD_BYTES, struct note, bytes),
	{ NULL },
};
static const struct record note_record = { "note 1", note_fields, sizeof(struct note) };

static const uint8_t note_bytes[] = { 6, 'n', 'o', 't', 'e', ' ', '1', 1, 0, 0, 0, 3, 'a', 0xc3, 0xa9, 2, 0, 0, 0, 8,
	0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 3, 9, 8, 7 };

static void a_record_has_one_form(void **state)
{
	const struct note note = { "aé", 258, { 9, 8, 7 } };
	struct note again;
	struct rounds_error error = { 0 };
	uint8_t out[RECORD_LIMIT];
	size_t size;

	assert_int_equal(record_encode(&note_record, &note, out, &size, &error), 0);
	assert_int_equal(size, sizeof(note_bytes));
	assert_memory_equal(out, note_bytes, size);
	assert_int_equal(record_decode(&note_record, (struct span){ out, size }, &again, &error), 0);
	assert_string_equal(again.name, "aé");
	assert_int_equal(again.number, 258);
	assert_memory_equal(again.bytes, note.bytes, 3);
}

static void refused(const uint8_t *bytes, size_t size, const char *field)
{
	struct rounds_error error = { 0 };
	struct note note;

	assert_int_equal(record_decode(&note_record, (struct span){ bytes, size }, &note, &error), -1);
	assert_int_equal(error.kind, ERROR_INVALID);
	assert_string_equal(error.field, field);
}

static void every_other_form_is_refused(void **state)
{
	uint8_t bytes[sizeof(note_bytes) + 1] = { 0 };
	static const struct {
		size_t at;
		uint8_t value;
		const char *field;
	} changes[] = {
		{ 0, 5, "" },
		{ 5, '_', "" },
		{ 6, '2', "" },
		{ 7, 2, "name" },     /* another place */
		{ 11, 2, "name" },    /* ends within a character */
		{ 11, 4, "number" },  /* reaches into the next field */
		{ 8, 0xff, "name" },  /* longer than all */
		{ 12, 0, "name" },    /* a NUL */
		{ 13, 0xff, "name" }, /* no UTF-8 */
		{ 15, 3, "number" },
		{ 19, 7, "number" },
		{ 28, 1, "bytes" },
		{ 32, 2, "bytes" },
	};

	for (size_t size = 0; size < sizeof(note_bytes); size++)
		refused(note_bytes, size, size < 7 ? "" : size < 15 ? "name" : size < 28 ? "number" : "bytes");
	memcpy(bytes, note_bytes, sizeof(note_bytes));
	refused(bytes, sizeof(bytes), ""); /* a byte behind the end */
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		memcpy(bytes, note_bytes, sizeof(note_bytes));
		bytes[changes[i].at] = changes[i].value;
		refused(bytes, sizeof(note_bytes), changes[i].field);
	}
}

static void text_that_does_not_fit_is_not_written(void **state)
{
	struct note note = { .name = "aaaaaaa" };
	struct rounds_error error = { 0 };
	uint8_t out[RECORD_LIMIT];
	size_t size;

	assert_int_equal(record_encode(&note_record, &note, out, &size, &error), 0);
	note.name[7] = 'a'; /* no NUL */
	assert_int_equal(record_encode(&note_record, &note, out, &size, &error), -1);
	assert_string_equal(error.field, "name");
}

static void new_secrets(struct site_secrets *secrets)
{
	secret_new(world_real(), &secrets->identity);
	secret_new(world_real(), &secrets->sealing);
}

static void keys_follow_on_each_other(void **state)
{
	scoped(site_secrets) struct site_secrets first, second, stranger;
	struct statement a, b, c, fork, text;
	struct site_keys keys;
	struct rounds_error error = { 0 };
	char digits[STATEMENT_TEXT_SIZE];

	new_secrets(&first);
	new_secrets(&second);
	new_secrets(&stranger);
	assert_int_equal(statement_make(world_real(), "north", &first, NULL, NULL, &a, &error), 0);
	assert_int_equal(statement_make(world_real(), "north", &second, &a, &first.identity, &b, &error), 0);
	assert_int_equal(statement_make(world_real(), "north", &stranger, &a, &stranger.identity, &fork, &error), 0);
	assert_int_equal(statement_make(world_real(), "north", &second, &b, &second.identity, &c, &error), 0);
	assert_int_equal(statement_read(&b, &keys, &error), 0);
	assert_string_equal(keys.site, "north");
	assert_int_equal(keys.generation, 2);
	assert_int_equal(statement_follows(&a, &b, &error), 0);
	assert_int_equal(statement_follows(&b, &c, &error), 0);
	assert_int_equal(statement_follows(&a, &c, &error), -1);
	assert_says(error, "is not what follows");
	assert_int_equal(statement_follows(&b, &a, &error), -1);
	assert_int_equal(statement_read(&fork, &keys, &error), 0);
	assert_int_equal(statement_follows(&a, &fork, &error), -1);
	assert_says(error, "not signed with the key before");
	statement_format(&b, digits);
	assert_int_equal(statement_parse(digits, &text, &error), 0);
	assert_true(statement_equal(&b, &text));
	digits[1] = 'G';
	assert_int_equal(statement_parse(digits, &text, &error), -1);
}

/* Two second statements, both signed as they should be: what follows on the one does not follow on the other. */
static void a_statement_names_the_one_before(void **state)
{
	scoped(site_secrets) struct site_secrets first, second, twin;
	struct statement a, b, fork, c;
	struct rounds_error error = { 0 };

	new_secrets(&first);
	new_secrets(&second);
	new_secrets(&twin);
	twin.identity = second.identity;
	assert_int_equal(statement_make(world_real(), "north", &first, NULL, NULL, &a, &error), 0);
	assert_int_equal(statement_make(world_real(), "north", &second, &a, &first.identity, &b, &error), 0);
	assert_int_equal(statement_make(world_real(), "north", &twin, &a, &first.identity, &fork, &error), 0);
	assert_int_equal(statement_make(world_real(), "north", &second, &b, &second.identity, &c, &error), 0);
	assert_int_equal(statement_follows(&b, &c, &error), 0);
	assert_int_equal(statement_follows(&fork, &c, &error), -1);
	assert_says(error, "is not what follows");
}

static void another_sites_keys_do_not_follow(void **state)
{
	scoped(site_secrets) struct site_secrets secrets;
	struct statement a, b;
	struct rounds_error error = { 0 };

	new_secrets(&secrets);
	assert_int_equal(statement_make(world_real(), "north", &secrets, NULL, NULL, &a, &error), 0);
	assert_int_equal(statement_make(world_real(), "south", &secrets, &a, &secrets.identity, &b, &error), 0);
	assert_int_equal(statement_follows(&a, &b, &error), -1);
	assert_int_equal(statement_make(world_real(), "no name", &secrets, NULL, NULL, &a, &error), 0);
	assert_int_equal(statement_read(&a, &(struct site_keys){ 0 }, &error), -1);
	assert_string_equal(error.field, "site");
}

static void a_changed_statement_is_none(void **state)
{
	scoped(site_secrets) struct site_secrets secrets;
	struct statement whole, changed;
	struct site_keys keys;
	struct rounds_error error = { 0 };

	new_secrets(&secrets);
	assert_int_equal(statement_make(world_real(), "north", &secrets, NULL, NULL, &whole, &error), 0);
	assert_int_equal(statement_read(&whole, &keys, &error), 0);
	for (size_t i = 0; i < whole.size; i++) {
		changed = whole;
		changed.bytes[i] ^= 1;
		assert_int_equal(statement_read(&changed, &keys, &error), -1);
		changed = whole;
		changed.size = i;
		assert_int_equal(statement_read(&changed, &keys, &error), -1);
	}
}

/* The paper's own example, 127.0.0.1. */
static void fingerprints_can_be_read_aloud(void **state)
{
	static const uint8_t fingerprint[FINGERPRINT_SIZE] = { 127, 0, 0, 1, 63, 84, 220, 193, 0xff, 0xff };
	char text[FINGERPRINT_TEXT_SIZE], words[FINGERPRINT_WORDS_SIZE];

	fingerprint_text(fingerprint, text);
	fingerprint_words(fingerprint, words);
	assert_string_equal(text, "7f00 0001 3f54 dcc1 ffff 0000 0000 0000 0000 0000");
	assert_string_equal(words, "lusab-babad-gutih-tugad-zuzuz-babab-babab-babab-babab-babab");
}

static void a_fingerprint_is_of_the_identity(void **state)
{
	struct public_key identity = { { 1 } };
	struct rounds_error error = { 0 };
	uint8_t one[FINGERPRINT_SIZE], other[FINGERPRINT_SIZE];

	assert_int_equal(fingerprint_of(&identity, one, &error), 0);
	identity.bytes[KEY_SIZE - 1] ^= 1;
	assert_int_equal(fingerprint_of(&identity, other, &error), 0);
	assert_memory_not_equal(one, other, FINGERPRINT_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_has_one_form),
		cmocka_unit_test(every_other_form_is_refused),
		cmocka_unit_test(text_that_does_not_fit_is_not_written),
		cmocka_unit_test(keys_follow_on_each_other),
		cmocka_unit_test(a_statement_names_the_one_before),
		cmocka_unit_test(another_sites_keys_do_not_follow),
		cmocka_unit_test(a_changed_statement_is_none),
		cmocka_unit_test(fingerprints_can_be_read_aloud),
		cmocka_unit_test(a_fingerprint_is_of_the_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
