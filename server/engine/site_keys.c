#include "server/engine/site_keys.h"

#include "common/json.h"
#include "common/seal/fingerprint.h"
#include "common/seal/site_keys.h"
#include "server/store/site_keys.h"

#include <string.h>

enum { GENERATIONS = 1000 }; /* of one site: nobody fills the table with them */

static const char *last_of(const json_t *statements)
{
	size_t count = json_array_size(statements);

	return count ? json_string_value(json_array_get(statements, count - 1)) : NULL;
}

bool site_keys_are_known(const json_t *site, const json_t *facts)
{
	const char *told = last_of(json_object_get(facts, "keys"));

	return !told || !strcmp(told, json_text_or(site, "statement", ""));
}

static int refuse(struct rounds_error *error)
{
	char message[400];

	snprintf(message, sizeof(message), "%.390s", error->message);
	return error_field(error, "keys", "do not prove themselves: %s", message);
}

/* One after the other, all of this site. */
static int check_chain(const char *site, const json_t *statements, struct rounds_error *error)
{
	struct statement before, statement;
	struct site_keys keys;
	size_t i;
	json_t *text;

	json_array_foreach (statements, i, text) {
		if (statement_parse(json_string_value(text), &statement, error) ||
			statement_read(&statement, &keys, error) ||
			(i && statement_follows(&before, &statement, error)))
			return refuse(error);
		if (strcmp(keys.site, site) != 0)
			return error_field(error, "keys", "are those of the site %s", keys.site);
		if (keys.generation > GENERATIONS)
			return error_field(error, "keys", "were changed more than %d times", GENERATIONS);
		before = statement;
	}
	return 0;
}

static int generation_of(const char *text, int64_t *generation, struct rounds_error *error)
{
	struct statement statement;
	struct site_keys keys;

	if (statement_parse(text, &statement, error) || statement_read(&statement, &keys, error))
		return -1;
	*generation = (int64_t)keys.generation;
	return 0;
}

/* The place in the claim of the newest statement that is known; the size of the claim if it is not there. */
static size_t place_of(const json_t *statements, const json_t *newest)
{
	size_t i;
	json_t *text;

	json_array_foreach (statements, i, text)
		if (json_equal(text, json_object_get(newest, "statement")))
			break;
	return i;
}

static int conflict(const char *site, int64_t known, const json_t *statements, struct rounds_error *error)
{
	int64_t told = 0;

	if (generation_of(last_of(statements), &told, error))
		return -1;
	if (told < known)
		error_field(error, "keys",
			"are of generation %lld, and this server knows generation %lld of the keys of %s: the state "
			"directory there is an older copy",
			(long long)told, (long long)known, site);
	else
		error_field(error, "keys",
			"do not follow on those that this server knows of %s: put the site's file site.keys back, or "
			"let the site join anew with an invitation that replaces it",
			site);
	error->kind = ERROR_CONFLICT;
	return -1;
}

int site_keys_learn(struct store_tx *tx, const char *site, const json_t *statements, struct rounds_error *error)
{
	json_auto_t *known = NULL;
	const json_t *newest;
	size_t next = 0;
	int64_t generation = 0;

	if (check_chain(site, statements, error) || site_keys_list(tx, site, &known, error))
		return -1;
	newest = json_array_get(known, json_array_size(known) - 1);
	if (newest)
		next = place_of(statements, newest) + 1;
	if (next > json_array_size(statements))
		return conflict(site, json_integer_or(newest, "generation", 0), statements, error);
	for (; next < json_array_size(statements); next++) {
		const char *text = json_string_value(json_array_get(statements, next));

		if (generation_of(text, &generation, error) || site_keys_add(tx, site, generation, text, error))
			return -1;
	}
	return 0;
}

json_t *site_keys_shown(const char *text)
{
	struct statement statement;
	struct site_keys keys;
	struct rounds_error error;
	uint8_t fingerprint[FINGERPRINT_SIZE];
	char digits[FINGERPRINT_TEXT_SIZE], words[FINGERPRINT_WORDS_SIZE];

	if (!text || statement_parse(text, &statement, &error) || statement_read(&statement, &keys, &error) ||
		fingerprint_of(&keys.identity, fingerprint, &error))
		return json_null();
	fingerprint_text(fingerprint, digits);
	fingerprint_words(fingerprint, words);
	return json_pack(
		"{s:s, s:s, s:I}", "fingerprint", digits, "words", words, "generation", (json_int_t)keys.generation);
}

int site_keys_of_all(struct store_tx *tx, json_t **sites, struct rounds_error *error)
{
	json_auto_t *rows = NULL, *all = json_array();
	json_t *site = NULL, *row;
	size_t i;

	if (!all)
		return error_no_memory(error);
	if (site_keys_list_all(tx, SITE_KEYS_SHOWN, &rows, error))
		return -1;
	json_array_foreach (rows, i, row) {
		if (!site || !json_equal(json_object_get(site, "site"), json_object_get(row, "site"))) {
			site = json_pack("{s:O, s:[]}", "site", json_object_get(row, "site"), "statements");
			if (json_array_append_new(all, site))
				return error_no_memory(error);
		}
		if (json_array_append(json_object_get(site, "statements"), json_object_get(row, "statement")))
			return error_no_memory(error);
	}
	*sites = json_incref(all);
	return 0;
}
