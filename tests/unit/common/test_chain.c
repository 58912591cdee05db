/* A chain of records: whatever is changed, taken out, put in or cut off is named with its place. */
#include "tests/unit/test.h"

#include "common/chain/chain.h"
#include "common/json.h"

enum { ENTRIES = 20 };

struct export
{
	char *private_pem, *public_pem;
	char *lines[ENTRIES + 2]; /* the first line, the records, the checkpoint */
};

static void export_make(struct export *export)
{
	struct rounds_error error = { 0 };
	struct checkpoint checkpoint = { 0 };
	char link[DIGEST_TEXT_SIZE];

	assert_int_equal(chain_key_new(&export->private_pem, &error), 0);
	assert_int_equal(chain_key_public(export->private_pem, &export->public_pem, &error), 0);
	chain_begin("audit", &checkpoint.head);
	export->lines[0] = chain_line_begin("audit", &checkpoint.head);
	for (int i = 1; i <= ENTRIES; i++) {
		json_auto_t *value = json_pack("{s:s, s:i}", "kind", "job.delete", "at", i);
		scoped(text_free) char *record = json_canonical(value);

		chain_append(&checkpoint.head, record);
		digest_format(&checkpoint.head.link, link);
		export->lines[i] = chain_line_record(i, link, record);
	}
	assert_int_equal(checkpoint_sign("audit", export->private_pem, 0, &checkpoint, &error), 0);
	export->lines[ENTRIES + 1] = chain_line_checkpoint(&checkpoint);
}

static void export_free(struct export *export)
{
	free(export->private_pem);
	free(export->public_pem);
	for (int i = 0; i < ENTRIES + 2; i++)
		free(export->lines[i]);
}

/* Lines `skip` and from `cut` on are left out; -1: none. */
static int verify(const struct export *export, int skip, int cut, const struct checkpoint *earlier,
	struct checkpoint *last, struct rounds_error *error)
{
	scoped(text_free) char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);
	int failed;

	for (int i = 0; i < ENTRIES + 2 && i != cut; i++)
		if (i != skip)
			fprintf(file, "%s\n", export->lines[i]);
	fclose(file);
	file = fmemopen(text, size, "r");
	failed = chain_verify(file, "audit", export->public_pem, earlier, last, error);
	fclose(file);
	return failed;
}

static void an_export_proves_itself(void **state)
{
	struct export export, other;
	struct rounds_error error = { 0 };
	struct checkpoint last, earlier;

	export_make(&export);
	export_make(&other);
	assert_int_equal(verify(&export, -1, -1, NULL, &last, &error), 0);
	assert_int_equal(last.head.length, ENTRIES);
	assert_int_equal(verify(&export, -1, -1, &last, &earlier, &error), 0);
	free(export.public_pem);
	export.public_pem = strdup(other.public_pem);
	assert_int_equal(verify(&export, -1, -1, NULL, &last, &error), -1);
	assert_says(error, "not signed with this key");
	export_free(&export);
	export_free(&other);
}

static void each_byte_counts(void **state)
{
	struct export export;
	struct rounds_error error = { 0 };
	struct checkpoint last;
	char place[40];

	export_make(&export);
	for (int line = 0; line < ENTRIES + 2; line++)
		for (size_t at = 0; at < strlen(export.lines[line]); at++) {
			char was = export.lines[line][at];

			export.lines[line][at] = was == '7' ? '8' : '7';
			snprintf(place, sizeof(place), "entry %d", line > ENTRIES ? ENTRIES : line);
			assert_int_equal(verify(&export, -1, -1, NULL, &last, &error), -1);
			if (line > 0 && line <= ENTRIES)
				assert_says(error, place);
			export.lines[line][at] = was;
		}
	assert_int_equal(verify(&export, -1, -1, NULL, &last, &error), 0);
	export_free(&export);
}

static void what_is_missing_is_named(void **state)
{
	struct export export;
	struct rounds_error error = { 0 };
	struct checkpoint last, earlier;

	export_make(&export);
	assert_int_equal(verify(&export, -1, -1, NULL, &earlier, &error), 0);
	assert_int_equal(verify(&export, 7, -1, NULL, &last, &error), -1);
	assert_says(error, "entry 7 is not there");
	assert_int_equal(verify(&export, ENTRIES, -1, NULL, &last, &error), -1);
	assert_says(error, "the end is cut off: entries 20 to 20");
	assert_int_equal(verify(&export, -1, 12, NULL, &last, &error), -1);
	assert_says(error, "no signed checkpoint stands behind entry 11");
	assert_int_equal(verify(&export, -1, 0, NULL, &last, &error), -1);
	earlier.head.length++; /* as if the chain had been longer once */
	assert_int_equal(verify(&export, -1, -1, &earlier, &last, &error), -1);
	assert_says(error, "had 21 entries at the earlier checkpoint, and has 20");
	earlier.head.length = 5;
	assert_int_equal(verify(&export, -1, -1, &earlier, &last, &error), -1);
	assert_says(error, "up to entry 5 this is not the chain");
	export_free(&export);
}

/* Whoever holds no key makes the whole chain anew: the signature is of another. */
static void a_chain_made_anew_is_not_the_signed_one(void **state)
{
	struct export export, other;
	struct rounds_error error = { 0 };
	struct checkpoint last;
	struct chain_head head;
	char link[DIGEST_TEXT_SIZE];

	export_make(&export);
	export_make(&other);
	chain_begin("audit", &head);
	for (int i = 1; i <= ENTRIES; i++) {
		const char *record = i == 3 ? "{\"at\":3,\"kind\":\"job.show\"}" : "{\"at\":3}";

		chain_append(&head, record);
		digest_format(&head.link, link);
		free(export.lines[i]);
		export.lines[i] = chain_line_record(i, link, record);
	}
	assert_int_equal(verify(&export, -1, -1, NULL, &last, &error), -1);
	assert_says(error, "made anew");
	export_free(&export);
	export_free(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_export_proves_itself),
		cmocka_unit_test(each_byte_counts),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(a_chain_made_anew_is_not_the_signed_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
