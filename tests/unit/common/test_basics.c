/* Errors, digests, files, ids, times, hexadecimal, certificates. */
#include "tests/unit/test.h"

#include "common/clock.h"
#include "common/digest.h"
#include "common/hex.h"
#include "common/text.h"
#include "common/uuid.h"
#include "common/x509.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static void errors_keep_their_words(void **state)
{
	struct rounds_error error = { 0 };

	errno = ENOSPC;
	assert_int_equal(error_errno(&error, "cannot write %d", 5), -1);
	assert_int_equal(error.kind, ERROR_NO_SPACE);
	error_prefix(&error, "job %s", "x");
	assert_string_equal(error.message, "job x: cannot write 5: No space left on device");
	for (int i = 0; i < ERROR_KIND_COUNT; i++)
		assert_int_equal(error_kind_from_slug(error_kind_info((enum error_kind)i)->slug), i);
	assert_int_equal(error_kind_from_slug("nonsense"), ERROR_INTERNAL);
	assert_int_equal(error_set(NULL, ERROR_IO, "nobody listens"), -1);
}

/* FIPS 180-4's own examples. */
static void sha256(void **state)
{
	struct digest digest, parsed;
	char text[DIGEST_TEXT_SIZE];
	struct digest_stream *stream = digest_stream_new();

	digest_of("abc", 3, &digest);
	digest_format(&digest, text);
	assert_string_equal(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(digest_parse(text, &parsed) && digest_equal(&parsed, &digest));
	text[10] = 'G';
	assert_false(digest_parse(text, &parsed));
	assert_false(digest_parse("sha256:abc", &parsed));
	assert_false(digest_parse(NULL, &parsed));
	digest_stream_add(stream, "a", 1);
	digest_stream_add(stream, "bc", 2);
	digest_stream_finish(stream, &parsed);
	assert_true(digest_equal(&parsed, &digest));
	digest_stream_finish(stream, &parsed); /* begins anew: the digest of nothing */
	digest_format(&parsed, text);
	assert_string_equal(text, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_stream_free(stream);
}

static void files_are_whole_or_old(void **state)
{
	struct rounds_error error = { 0 };
	char *text;
	size_t size;
	struct digest a, b;
	int fd;

	assert_int_equal(file_replace(in(state, "f"), "one", 3, 0600, &error), 0);
	assert_int_equal(file_replace(in(state, "f"), "three", 5, 0600, &error), 0);
	assert_int_equal(file_read(in(state, "f"), 100, &text, &size, &error), 0);
	assert_string_equal(text, "three");
	free(text);
	assert_int_equal(file_read(in(state, "f"), 4, &text, &size, &error), -1);
	assert_int_equal(error.kind, ERROR_TOO_LARGE);
	assert_int_equal(file_read(in(state, "none"), 4, &text, &size, &error), -1);
	assert_int_equal(file_replace(in(state, "no/such/folder"), "x", 1, 0600, &error), -1);
	fd = open(in(state, "f"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(digest_file(fd, 5, &a, &error), 0);
	digest_of("three", 5, &b);
	assert_true(digest_equal(&a, &b));
	assert_int_equal(digest_file(fd, 6, &a, &error), -1);
	assert_says(error, "shorter");
	close(fd);
}

static void directories_are_made_and_removed_without_following_links(void **state)
{
	struct rounds_error error = { 0 };
	int lock;

	assert_int_equal(directory_make(in(state, "a/b/c"), 0700, &error), 0);
	write_file(in(state, "outside"), "x", 1);
	assert_int_equal(symlink(in(state, "outside"), in(state, "a/b/link")), 0);
	directory_remove(in(state, "a"));
	assert_int_equal(access(in(state, "a"), F_OK), -1);
	assert_int_equal(access(in(state, "outside"), F_OK), 0);
	directory_remove(in(state, "never"));
	lock = file_lock(in(state, "lock"), &error);
	assert_true(lock >= 0);
	assert_int_equal(file_lock(in(state, "lock"), &error), -1);
	assert_says(error, "is locked");
	close(lock);
}

static void ids_sort_by_age(void **state)
{
	char last[UUID_TEXT_SIZE] = "", next[UUID_TEXT_SIZE];

	for (int i = 0; i < 20000; i++) {
		uuid_new(world_real(), next);
		assert_true(uuid_is_valid(next) && next[14] == '7' && strchr("89ab", next[19]));
		assert_true(strcmp(last, next) < 0);
		memcpy(last, next, sizeof(last));
	}
	assert_false(uuid_is_valid("01A20fa7-2166-7000-8ca2-30d8dd77b44b"));
	assert_false(uuid_is_valid("../../../../../../../../etc/passwd--"));
}

static void times(void **state)
{
	char text[TIME_TEXT_SIZE], boot[37];
	int64_t steady = clock_steady_us();

	time_format(INT64_C(1772366400000042), text);
	assert_string_equal(text, "2026-03-01T12:00:00.000042Z");
	assert_true(clock_steady_us() >= steady);
	clock_boot_id(boot);
	assert_int_equal(strlen(boot), 36);
}

static void hexadecimal(void **state)
{
	uint8_t bytes[3] = { 0, 0xab, 255 }, back[3];
	char text[7], random[17], other[17];

	hex_format(bytes, 3, text);
	assert_string_equal(text, "00abff");
	assert_true(hex_parse(text, back, 3));
	assert_memory_equal(bytes, back, 3);
	assert_false(hex_parse("00abfg", back, 3));
	assert_false(hex_parse("00ab", back, 3));
	hex_random(world_real(), 8, random);
	hex_random(world_real(), 8, other);
	assert_string_not_equal(random, other);
}

static void one_certificate_alone(const char *good, const char *evil)
{
	const struct {
		const char *before, *behind;
	} more[] = { { "", evil }, { "", "\n\n#" }, { "", "\x01" }, { evil, "" }, { "a comment\n", "" } };
	struct rounds_error error = { 0 };
	scoped(text_free) char *alone = NULL;
	scoped(text_free) char *padded = text_new("\n\n%s \r\n\t", good);

	assert_int_equal(certificate_alone(padded, &alone, &error), 0);
	assert_string_equal(alone, good);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		scoped(text_free) char *text = text_new("%s%s%s", more[i].before, good, more[i].behind);
		char *none = NULL;

		assert_int_equal(certificate_alone(text, &none, &error), -1);
		assert_null(none);
	}
	assert_int_equal(certificate_alone("rubbish", &alone, &error), -1);
}

static void certificates(void **state)
{
	scoped(text_free) char *ca_key = NULL;
	scoped(text_free) char *ca = NULL;
	scoped(text_free) char *key = NULL;
	scoped(text_free) char *request = NULL;
	scoped(text_free) char *cert = NULL;
	scoped(text_free) char *other_key = NULL;
	scoped(text_free) char *other_ca = NULL;
	struct rounds_error error = { 0 };
	struct certificate_facts facts;
	struct certificate_order order = { .name = "hospital-a", .use = CERTIFICATE_SITE, .days = 1 };
	char fingerprint[DIGEST_TEXT_SIZE];

	assert_int_equal(key_new(&ca_key, &error), 0);
	assert_int_equal(authority_new("CA", ca_key, 10, &ca, &error), 0);
	assert_int_equal(key_new(&key, &error), 0);
	assert_int_equal(certificate_request("not believed", key, &request, &error), 0);
	order.authority_pem = ca;
	order.authority_key_pem = ca_key;
	order.request_pem = request;
	assert_int_equal(certificate_issue(&order, &cert, &facts, &error), 0);
	assert_string_equal(facts.name, "hospital-a");
	assert_true(facts.not_before_us < clock_wall_us() && facts.not_after_us > clock_wall_us());
	assert_int_equal(certificate_check(cert, ca, key, &error), 0);
	assert_int_equal(key_new(&other_key, &error), 0);
	assert_int_equal(authority_new("CA", other_key, 10, &other_ca, &error), 0);
	assert_int_equal(certificate_check(cert, other_ca, key, &error), -1);
	assert_int_equal(certificate_check(cert, ca, other_key, &error), -1);
	assert_int_equal(certificate_fingerprint(ca, fingerprint, sizeof(fingerprint), &error), 0);
	assert_int_equal(certificate_fingerprint("rubbish", fingerprint, sizeof(fingerprint), &error), -1);
	one_certificate_alone(ca, other_ca);
	request[80] ^= 1; /* a request that was tampered with */
	free(cert);
	cert = NULL;
	assert_int_equal(certificate_issue(&order, &cert, &facts, &error), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_keep_their_words),
		cmocka_unit_test(sha256),
		unit_test_in_directory(files_are_whole_or_old),
		unit_test_in_directory(directories_are_made_and_removed_without_following_links),
		cmocka_unit_test(ids_sort_by_age),
		cmocka_unit_test(times),
		cmocka_unit_test(hexadecimal),
		cmocka_unit_test(certificates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
