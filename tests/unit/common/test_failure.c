#include "tests/unit/test.h"

#include "common/failure.h"
#include "common/json.h"

static int read_text(const char *text, struct failure *failure, struct rounds_error *error)
{
	json_auto_t *value = NULL;

	assert_int_equal(json_parse(text, strlen(text), &value, error), 0);
	return failure_read(value, failure, error);
}

static void each_kind_has_a_name_and_a_sentence(void **state)
{
	for (int i = 0; i < FAILURE_KIND_COUNT; i++) {
		struct failure failure = { .kind = (enum failure_kind)i };
		enum failure_kind again = FAILURE_KIND_COUNT;
		char sentence[FAILURE_SENTENCE_SIZE];

		assert_true(failure_parse(failure_name(failure.kind), &again));
		assert_int_equal(again, i);
		failure_sentence(&failure, sentence, sizeof(sentence));
		assert_true(strlen(sentence) > 10);
	}
	assert_false(failure_parse(NULL, NULL));
	assert_string_equal(failure_name(FAILURE_KIND_COUNT), "internal");
}

static void what_was_written_is_read(void **state)
{
	struct failure given = { .kind = FAILURE_CELL, .role = "path", .row = 18, .column = 3, .ref = "4f1c09ab" },
		       read;
	json_auto_t *value = failure_json(&given);
	struct rounds_error error = { 0 };
	char sentence[FAILURE_SENTENCE_SIZE];

	assert_int_equal(failure_read(value, &read, &error), 0);
	assert_int_equal(read.kind, FAILURE_CELL);
	assert_int_equal(read.row, 18);
	assert_string_equal(read.ref, "4f1c09ab");
	assert_false(read.retry);
	assert_null(json_object_get(value, "text"));
	failure_sentence(&read, sentence, sizeof(sentence));
	assert_non_null(strstr(sentence, " (path, row 18, column 3); the site's log: 4f1c09ab"));
	failure_set_text(&read, "in its own words");
	failure_sentence(&read, sentence, sizeof(sentence));
	assert_non_null(strstr(sentence, "4f1c09ab: in its own words"));
}

static void null_is_absent(void **state)
{
	struct failure read;
	struct rounds_error error = { 0 };

	assert_int_equal(
		read_text("{\"kind\": \"tensor\", \"row\": null, \"tensor\": \"layer0.weight\", \"retry\": true}",
			&read, &error),
		0);
	assert_true(read.retry);
	assert_int_equal(read.row, 0);
	assert_string_equal(read.tensor, "layer0.weight");
}

static void what_is_refused_names_its_field(void **state)
{
	static const struct {
		const char *text, *field;
	} wrong[] = {
		{ "[]", "" },
		{ "{}", "kind" },
		{ "{\"kind\": \"a patient\"}", "kind" },
		{ "{\"kind\": \"bored\"}", "kind" },
		{ "{\"kind\": \"cell\", \"row\": 0}", "row" },
		{ "{\"kind\": \"cell\", \"row\": -9223372036854775808}", "row" },
		{ "{\"kind\": \"cell\", \"row\": 1.5}", "row" },
		{ "{\"kind\": \"cell\", \"column\": \"3\"}", "column" },
		{ "{\"kind\": \"cell\", \"role\": \"../etc\"}", "role" },
		{ "{\"kind\": \"cell\", \"ref\": \"0123456789012345678901234567890123\"}", "ref" },
		{ "{\"kind\": \"tensor\", \"tensor\": \"Mrs Smith\"}", "tensor" },
		{ "{\"kind\": \"cell\", \"text\": \"\"}", "text" },
		{ "{\"kind\": \"cell\", \"message\": \"x\"}", "message" },
		{ "{\"kind\": \"cell\", \"retry\": 1}", "retry" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct rounds_error error = { 0 };
		struct failure read;

		assert_int_equal(read_text(wrong[i].text, &read, &error), -1);
		assert_string_equal(error.field, wrong[i].field);
	}
}

/* Each way to cut leaves whole characters: half of one would make the JSON around it fail. */
static void words_are_cut_between_characters(void **state)
{
	struct failure failure = { .kind = FAILURE_PROGRAM };
	char words[2 * FAILURE_TEXT_SIZE + 1], sentence[FAILURE_SENTENCE_SIZE];

	for (size_t shift = 0; shift < 4; shift++) {
		json_auto_t *value = NULL;
		json_auto_t *text = NULL;

		memset(words, 'x', shift);
		for (size_t at = shift; at + 4 < sizeof(words); at += 3)
			strcpy(words + at, "\u7cbe");
		failure_set_text(&failure, words);
		assert_in_range(strlen(failure.text), FAILURE_TEXT_SIZE - 4, FAILURE_TEXT_SIZE - 1);
		value = failure_json(&failure);
		assert_non_null(json_object_get(value, "text"));
		failure_sentence(&failure, sentence, sizeof(sentence));
		text = json_string(sentence);
		assert_non_null(text);
	}
}

static void an_error_tells_kind_and_place_but_not_its_words(void **state)
{
	static const struct {
		enum error_kind error;
		enum failure_kind failure;
		bool retry;
	} known[] = {
		{ ERROR_NO_MEMORY, FAILURE_NO_MEMORY, true },
		{ ERROR_NO_SPACE, FAILURE_NO_SPACE, true },
		{ ERROR_IO, FAILURE_INTERNAL, true },
		{ ERROR_UNPROCESSABLE, FAILURE_MODEL, false },
		{ ERROR_INVALID, FAILURE_DATASET, false },
	};
	struct rounds_error error = { 0 };
	struct failure failure;

	assert_int_equal(failure_error(&error, FAILURE_CELL, "path", 18, 3, "%s", "words"), -1);
	assert_string_equal(error.message, "words");
	failure_of_error(&error, &failure);
	assert_int_equal(failure.kind, FAILURE_CELL);
	assert_string_equal(failure.role, "path");
	assert_int_equal(failure.row, 18);
	assert_int_equal(failure.column, 3);
	assert_string_equal(failure.text, "");
	assert_false(failure.retry);

	(void)failure_error(&error, FAILURE_TENSOR, "layer0.weight", 0, 0, "%s", "words");
	failure_of_error(&error, &failure);
	assert_string_equal(failure.tensor, "layer0.weight");
	assert_string_equal(failure.role, "");

	(void)error_field(&error, "trainer.epochs", "must be greater");
	assert_int_equal(error.cause + error.row + error.column, 0);
	failure_of_error(&error, &failure);
	assert_int_equal(failure.kind, FAILURE_PARAMS);
	assert_string_equal(failure.role, "trainer.epochs");
	(void)error_field(&error, "trainer.no name at all", "is not known");
	failure_of_error(&error, &failure);
	assert_string_equal(failure.role, "");

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		(void)error_set(&error, known[i].error, "%s", "words");
		failure_of_error(&error, &failure);
		assert_int_equal(failure.kind, known[i].failure);
		assert_int_equal(failure.retry, known[i].retry);
	}
	assert_int_equal(failure_error(NULL, FAILURE_CELL, "", 0, 0, "%s", "words"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_has_a_name_and_a_sentence),
		cmocka_unit_test(an_error_tells_kind_and_place_but_not_its_words),
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(null_is_absent),
		cmocka_unit_test(what_is_refused_names_its_field),
		cmocka_unit_test(words_are_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
