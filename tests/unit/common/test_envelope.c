/* Sealed contents and their letters: of any size, in little memory; whatever was done to them is refused, and said. */
#include "tests/unit/test.h"

#include "common/seal/letter.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { SEALED_CHUNK = CONTENT_CHUNK + AEAD_TAG_SIZE };

static int memory_file(const void *bytes, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static size_t all_of(int fd, uint8_t **bytes)
{
	off_t size = lseek(fd, 0, SEEK_END);

	*bytes = malloc((size_t)size + 1);
	assert_int_equal(pread(fd, *bytes, (size_t)size, 0), size);
	return (size_t)size;
}

struct sealed {
	struct secret_key key;
	struct content_facts facts;
	uint8_t *plain, *bytes;
	size_t plain_size, size;
};

static void sealed_cleanup(struct sealed *sealed)
{
	free(sealed->plain);
	free(sealed->bytes);
}

static struct sealed seal(size_t size)
{
	struct sealed sealed = { .plain = malloc(size + 1), .plain_size = size };
	struct rounds_error error = { 0 };
	scoped(file_close) int from = -1, to = memory_file("", 0);

	for (size_t i = 0; i < size; i++)
		sealed.plain[i] = (uint8_t)(i * 7 + i / 251);
	from = memory_file(sealed.plain, size);
	secret_new(world_real(), &sealed.key);
	assert_int_equal(content_seal(&sealed.key, from, to, &sealed.facts, &error), 0);
	sealed.size = all_of(to, &sealed.bytes);
	return sealed;
}

static int open_bytes(struct sealed *sealed, const uint8_t *bytes, size_t size, struct rounds_error *error)
{
	scoped(file_close) int from = memory_file(bytes, size), to = memory_file("", 0);
	scoped(text_free) char *opened = NULL;

	*error = (struct rounds_error){ 0 };
	if (content_open(&sealed->key, &sealed->facts, from, to, error))
		return -1;
	assert_int_equal(all_of(to, (uint8_t **)&opened), sealed->plain_size);
	assert_memory_equal(opened, sealed->plain, sealed->plain_size);
	return 0;
}

static void refused(struct sealed *sealed, const uint8_t *bytes, size_t size, const char *says)
{
	struct rounds_error error;

	assert_int_equal(open_bytes(sealed, bytes, size, &error), -1);
	assert_int_equal(error.kind, ERROR_CHECKSUM);
	assert_says(error, says);
}

static void any_size_is_opened_as_it_was(void **state)
{
	static const size_t sizes[] = { 0, 1, 1000, CONTENT_CHUNK - 1, CONTENT_CHUNK, CONTENT_CHUNK + 1,
		2 * CONTENT_CHUNK, 5 * CONTENT_CHUNK + 17 };
	struct rounds_error error;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		scoped(sealed) struct sealed sealed = seal(sizes[i]);

		assert_int_equal(sealed.size, content_sealed_size(sizes[i]));
		assert_int_equal(sealed.facts.size, sealed.size);
		assert_int_equal(open_bytes(&sealed, sealed.bytes, sealed.size, &error), 0);
	}
}

static void cut_and_lengthened_contents_are_refused(void **state)
{
	scoped(sealed) struct sealed sealed = seal(2 * CONTENT_CHUNK + 100);
	static const size_t cuts[] = { 0, 1, SEALED_CHUNK - 1, SEALED_CHUNK, SEALED_CHUNK + 1, 2 * SEALED_CHUNK };
	uint8_t *longer = malloc(sealed.size + 1);

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		refused(&sealed, sealed.bytes, cuts[i], "its end is cut off");
	memcpy(longer, sealed.bytes, sealed.size);
	longer[sealed.size] = 0;
	refused(&sealed, longer, sealed.size + 1, "more than the");
	/* Whoever also lies about the size, which the letter's signature does not let them, meets the mark of the last chunk. */
	sealed.facts.size = 2 * SEALED_CHUNK;
	refused(&sealed, sealed.bytes, 2 * SEALED_CHUNK, "chunk 2 was changed");
	sealed.facts.size = 2 * SEALED_CHUNK + AEAD_TAG_SIZE;
	refused(&sealed, sealed.bytes, sealed.size, "nothing that was sealed has");
	sealed.facts.size = 0;
	refused(&sealed, sealed.bytes, 0, "nothing that was sealed has");
	free(longer);
}

static void changed_and_reordered_chunks_are_refused(void **state)
{
	scoped(sealed) struct sealed sealed = seal(3 * CONTENT_CHUNK), other = seal(3 * CONTENT_CHUNK);
	uint8_t *changed = malloc(sealed.size);
	struct rounds_error error;

	memcpy(changed, sealed.bytes + SEALED_CHUNK, SEALED_CHUNK);
	memcpy(changed + SEALED_CHUNK, sealed.bytes, SEALED_CHUNK);
	memcpy(changed + 2 * SEALED_CHUNK, sealed.bytes + 2 * SEALED_CHUNK, SEALED_CHUNK);
	refused(&sealed, changed, sealed.size, "chunk 1 was changed, or is another one");
	memcpy(changed, sealed.bytes, sealed.size);
	memcpy(changed + SEALED_CHUNK, other.bytes + SEALED_CHUNK, SEALED_CHUNK);
	refused(&sealed, changed, sealed.size, "chunk 2 was changed, or is another one");
	memcpy(changed, sealed.bytes, sealed.size);
	changed[sealed.size - 1] ^= 1;
	refused(&sealed, changed, sealed.size, "chunk 3 was changed");
	assert_int_equal(open_bytes(&sealed, sealed.bytes, sealed.size, &error), 0);
	free(changed);
}

/* GCM itself would let one ciphertext be opened by two keys. */
static void another_key_is_refused_before_anything_is_opened(void **state)
{
	scoped(sealed) struct sealed sealed = seal(100);

	sealed.key.bytes[0] ^= 1;
	refused(&sealed, sealed.bytes, sealed.size, "its key is another one");
	sealed.key.bytes[0] ^= 1;
	sealed.facts.commitment[31] ^= 1;
	refused(&sealed, sealed.bytes, sealed.size, "its key is another one");
	sealed.facts.commitment[31] ^= 1;
	sealed.facts.plain.bytes[0] ^= 1;
	refused(&sealed, sealed.bytes, sealed.size, "not what the sender has signed");
	sealed.facts.plain.bytes[0] ^= 1;
	sealed.facts.sealed.bytes[0] ^= 1;
	refused(&sealed, sealed.bytes, sealed.size, "not what the sender has signed");
}

static long peak_kb(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void large_contents_need_no_memory(void **state)
{
	enum { MB = 1 << 20, SIZE = 64 * MB };
	scoped(secret_key) struct secret_key key;
	scoped(file_close) int from = open(in(state, "plain"), O_RDWR | O_CREAT, 0600);
	scoped(file_close) int to = open(in(state, "sealed"), O_RDWR | O_CREAT, 0600);
	struct content_facts facts;
	struct rounds_error error = { 0 };
	scoped(sealed) struct sealed warm = seal(2 * CONTENT_CHUNK);
	long before;

	assert_int_equal(open_bytes(&warm, warm.bytes, warm.size, &error), 0);
	before = peak_kb();
	secret_new(world_real(), &key);
	assert_int_equal(ftruncate(from, SIZE), 0);
	assert_int_equal(content_seal(&key, from, to, &facts, &error), 0);
	assert_int_equal(facts.size, content_sealed_size(SIZE));
	lseek(to, 0, SEEK_SET);
	assert_int_equal(content_open(&key, &facts, to, -1, &error), 0);
	assert_true(peak_kb() - before < 8 * 1024);
}

/* Two sites and what each holds of the other. */
struct pair {
	struct secret_key north, south, wrong; /* north's identity, south's sealing key */
	struct public_key north_public, south_public;
	struct secret_key content_key;
	struct thread sent, received;
};

static void pair_begin(struct pair *pair)
{
	struct rounds_error error = { 0 };

	*pair = (struct pair){ 0 };
	secret_new(world_real(), &pair->north);
	secret_new(world_real(), &pair->south);
	secret_new(world_real(), &pair->wrong);
	secret_new(world_real(), &pair->content_key);
	assert_int_equal(signing_public(&pair->north, &pair->north_public, &error), 0);
	assert_int_equal(sealing_public(&pair->south, &pair->south_public, &error), 0);
}

static struct letter letter_of(const struct pair *pair)
{
	return (struct letter){
		.job = "job-1",
		.round = 3,
		.term = 1,
		.kind = "update",
		.sender = "north",
		.recipient = "south",
		.sealing = pair->south_public,
		.content.size = 100,
	};
}

static struct letter_expected expected_of(const struct pair *pair)
{
	return (struct letter_expected){
		.job = "job-1",
		.round = 3,
		.term = 1,
		.kind = "update",
		.sender = "north",
		.recipient = "south",
		.identity = &pair->north_public,
		.sealing = &pair->south,
	};
}

static struct letter_bytes write_letter(struct pair *pair)
{
	struct letter letter = letter_of(pair);
	struct letter_bytes bytes;
	struct rounds_error error = { 0 };

	assert_int_equal(
		letter_seal(world_real(), &letter, &pair->north, &pair->content_key, &pair->sent, &bytes, &error), 0);
	return bytes;
}

static int read_letter(struct pair *pair, const struct letter_bytes *bytes, const struct letter_expected *expected,
	struct rounds_error *error)
{
	struct letter letter;
	scoped(secret_key) struct secret_key key = { { 0 } };
	struct letter_expected usual = expected_of(pair);

	*error = (struct rounds_error){ 0 };
	if (letter_open(bytes, expected ? expected : &usual, &pair->received, &letter, &key, error))
		return -1;
	assert_memory_equal(key.bytes, pair->content_key.bytes, KEY_SIZE);
	assert_int_equal(letter.content.size, 100);
	return 0;
}

static void letters_come_in_order_and_once(void **state)
{
	struct pair pair;
	struct letter_bytes letters[4];
	struct rounds_error error;

	pair_begin(&pair);
	for (size_t i = 0; i < 4; i++)
		letters[i] = write_letter(&pair);
	assert_int_equal(read_letter(&pair, &letters[1], NULL, &error), -1);
	assert_string_equal(error.field, "number");
	assert_says(error, "message 1 from north never came");
	assert_int_equal(read_letter(&pair, &letters[0], NULL, &error), 0);
	assert_int_equal(read_letter(&pair, &letters[0], NULL, &error), -1);
	assert_says(error, "message 1, which came before");
	assert_int_equal(read_letter(&pair, &letters[1], NULL, &error), 0);
	assert_int_equal(read_letter(&pair, &letters[3], NULL, &error), -1);
	assert_says(error, "message 3 from north never came");
	assert_int_equal(read_letter(&pair, &letters[0], NULL, &error), -1);
	assert_int_equal(read_letter(&pair, &letters[2], NULL, &error), 0);
	assert_int_equal(read_letter(&pair, &letters[3], NULL, &error), 0);
}

/* A sender that says one thing to one and another thing to another is found by what follows. */
static void a_letter_in_anothers_place_is_refused(void **state)
{
	struct pair pair;
	struct letter_bytes first, fork, second;
	struct rounds_error error;

	pair_begin(&pair);
	first = write_letter(&pair);
	second = write_letter(&pair);
	pair.sent = (struct thread){ 0 };
	fork = write_letter(&pair);
	assert_int_equal(read_letter(&pair, &fork, NULL, &error), 0);
	assert_int_equal(read_letter(&pair, &second, NULL, &error), -1);
	assert_says(error, "follows on another one than came");
	assert_int_equal(read_letter(&pair, &first, NULL, &error), -1);
}

static void a_letter_for_another_place_is_refused_by_name(void **state)
{
	struct pair pair;
	struct letter_bytes bytes;
	struct rounds_error error;
	struct letter_expected wrong[9];
	static const char *const fields[9] = { "recipient", "sender", "identity", "sealing", "job", "round", "term",
		"kind", "identity" };

	pair_begin(&pair);
	bytes = write_letter(&pair);
	for (size_t i = 0; i < 9; i++)
		wrong[i] = expected_of(&pair);
	wrong[0].recipient = "west";
	wrong[1].sender = "west";
	wrong[2].identity = &pair.south_public;
	wrong[3].sealing = &pair.wrong;
	wrong[4].job = "job-2";
	wrong[5].round = 4;
	wrong[6].term = 2;
	wrong[7].kind = "model";
	wrong[8].identity = &(struct public_key){ { 0 } };
	for (size_t i = 0; i < 9; i++) {
		assert_int_equal(read_letter(&pair, &bytes, &wrong[i], &error), -1);
		assert_int_equal(error.kind, ERROR_CHECKSUM);
		assert_string_equal(error.field, fields[i]);
	}
	assert_int_equal(read_letter(&pair, &bytes, NULL, &error), 0);
}

static void a_changed_letter_is_refused(void **state)
{
	struct pair pair;
	struct letter_bytes whole, changed;
	struct rounds_error error;

	pair_begin(&pair);
	whole = write_letter(&pair);
	for (size_t i = 0; i < whole.size; i++) {
		changed = whole;
		changed.bytes[i] ^= 1;
		assert_int_equal(read_letter(&pair, &changed, NULL, &error), -1);
		changed = whole;
		changed.size = i;
		assert_int_equal(read_letter(&pair, &changed, NULL, &error), -1);
	}
	assert_int_equal(read_letter(&pair, &whole, NULL, &error), 0);
}

/* The sender itself, which can sign anything, cannot hand on the wrap of another letter. */
static void a_wrap_opens_in_its_own_letter_alone(void **state)
{
	struct pair pair;
	struct letter_bytes bytes;
	struct letter letter, other;
	struct rounds_error error = { 0 };
	uint8_t wrap[WRAP_SIZE], enc[HPKE_ENC_SIZE];

	pair_begin(&pair);
	bytes = write_letter(&pair);
	assert_int_equal(letter_read(&bytes, &letter, &error), 0);
	memcpy(wrap, letter.wrap, WRAP_SIZE);
	memcpy(enc, letter.enc, HPKE_ENC_SIZE);
	bytes = write_letter(&pair);
	assert_int_equal(letter_read(&bytes, &other, &error), 0);
	/* Put into the second letter's bytes, and signed again. */
	for (size_t i = 0; i + WRAP_SIZE <= bytes.size; i++) {
		if (!memcmp(bytes.bytes + i, other.wrap, WRAP_SIZE))
			memcpy(bytes.bytes + i, wrap, WRAP_SIZE);
		if (!memcmp(bytes.bytes + i, other.enc, HPKE_ENC_SIZE))
			memcpy(bytes.bytes + i, enc, HPKE_ENC_SIZE);
	}
	assert_int_equal(signature_make(&pair.north, (struct span){ bytes.bytes, bytes.size - SIGNATURE_SIZE },
				 bytes.bytes + bytes.size - SIGNATURE_SIZE, &error),
		0);
	pair.received = (struct thread){ .number = other.number - 1, .last = other.before };
	assert_int_equal(read_letter(&pair, &bytes, NULL, &error), -1);
	assert_string_equal(error.field, "wrap");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_size_is_opened_as_it_was),
		cmocka_unit_test(cut_and_lengthened_contents_are_refused),
		cmocka_unit_test(changed_and_reordered_chunks_are_refused),
		cmocka_unit_test(another_key_is_refused_before_anything_is_opened),
		unit_test_in_directory(large_contents_need_no_memory),
		cmocka_unit_test(letters_come_in_order_and_once),
		cmocka_unit_test(a_letter_in_anothers_place_is_refused),
		cmocka_unit_test(a_letter_for_another_place_is_refused_by_name),
		cmocka_unit_test(a_changed_letter_is_refused),
		cmocka_unit_test(a_wrap_opens_in_its_own_letter_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
