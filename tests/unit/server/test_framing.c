/* Where requests end: what reaches the parser, whole and however the bytes are cut. */
#include "tests/unit/test.h"

#include "server/http/framing.h"

struct sent {
	const char *bytes;
	size_t size, at, step; /* at most `step` bytes at a time */
};

static ssize_t send_some(void *context, void *bytes, size_t room)
{
	struct sent *sent = context;
	size_t size = sent->size - sent->at;

	size = size < sent->step ? size : sent->step;
	size = size < room ? size : room;
	memcpy(bytes, sent->bytes + sent->at, size);
	sent->at += size;
	return (ssize_t)size;
}

static char seen[400 * 1024];

/* Everything that the parser sees of `bytes`, in `seen`; the fault. */
static struct rounds_error pass(const void *bytes, size_t size, size_t step, size_t room)
{
	struct framing framing = { 0 };
	struct sent sent = { bytes, size, 0, step };
	struct rounds_error fault;
	size_t used = 0;
	ssize_t got;

	while ((got = framing_read(&framing, send_some, &sent, seen + used, room)) > 0) {
		used += (size_t)got;
		assert_true(used + room < sizeof(seen));
	}
	seen[used] = '\0';
	fault = framing.fault;
	framing_clear(&framing);
	return fault;
}

#define HEAD       "POST /x HTTP/1.1\r\nHost: a\r\n"
#define SUBSTITUTE "GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n"

static const size_t steps[] = { 1, 2, 3, 7, 4096, 100000 };

static void is_passed(const char *text, const char *wanted)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct rounds_error fault = pass(text, strlen(text), steps[i], i % 2 ? 5 : 1000);

		assert_int_equal(fault.kind, ERROR_NONE);
		assert_string_equal(seen, wanted);
	}
}

static void is_refused(const char *text, size_t size, const char *wanted, const char *why)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct rounds_error fault = pass(text, size, steps[i], i % 2 ? 5 : 1000);

		assert_int_equal(fault.kind, ERROR_INVALID);
		assert_says(fault, why);
		assert_string_equal(seen, wanted);
	}
}

static void what_is_right_passes_as_it_is(void **state)
{
	static const char *const right[] = {
		"GET /a?b=c%20d HTTP/1.1\r\nHost: a.b:1\r\nX-Y: \tz z\xc3\xa9 \r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		HEAD "Content-Length: 5\r\n\r\n12345GET / HTTP/1.1\r\nHost: [::1]:8\r\n\r\n",
		HEAD "content-length:0\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n",
		HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\na\r\n\r\n34567\r\n0\r\n0\r\n\r\n" HEAD "\r\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(right); i++)
		is_passed(right[i], right[i]);
}

static void chunks_come_in_one_form(void **state)
{
	is_passed(HEAD "Transfer-Encoding:CHUNKED\r\n\r\n0005;a=\"b\" \r\n12345\r\n000;x\r\nA: b\r\nC: d\r\n\r\n" HEAD
		       "\r\n",
		HEAD "Transfer-Encoding:CHUNKED\r\n\r\n5\r\n12345\r\n0\r\n\r\n" HEAD "\r\n");
}

static void an_empty_line_or_two_before_a_request_is_forgiven(void **state)
{
	is_passed("\r\n\r\n" HEAD "\r\n", HEAD "\r\n");
}

/* Each could be read as two different requests by two parsers. */
static void what_is_ambiguous_never_reaches_the_parser(void **state)
{
	static const char with_nul[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{ HEAD "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", "both" },
		{ HEAD "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", "both" },
		{ HEAD "Content-Length: 4\r\nContent-Length: 4\r\n\r\n1234", "more than once" },
		{ HEAD "Content-Length: 4\r\nContent-Length: 5\r\n\r\n12345", "more than once" },
		{ HEAD "Content-Length: 4, 4\r\n\r\n1234", "digits alone" },
		{ HEAD "Content-Length: +4\r\n\r\n1234", "digits alone" },
		{ HEAD "Content-Length: 0x4\r\n\r\n1234", "digits alone" },
		{ HEAD "Content-Length: \r\n\r\n", "18 digits" },
		{ HEAD "Content-Length: 18446744073709551616\r\n\r\n", "18 digits" },
		{ HEAD "Transfer-Encoding: identity\r\n\r\n", "only Transfer-Encoding" },
		{ HEAD "Transfer-Encoding: chunked, identity\r\n\r\n", "only Transfer-Encoding" },
		{ HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "more than once" },
		{ HEAD "Transfer-Encoding : chunked\r\n\r\n", "without a space before it" },
		{ HEAD "Transfer-Encoding\t: chunked\r\n\r\n", "without a space before it" },
		{ HEAD " Content-Length: 4\r\n\r\n", "without a space before it" },
		{ HEAD "X: 1\r\n folded\r\n\r\n", "without a space before it" },
		{ HEAD "no colon\r\n\r\n", "without a space before it" },
		{ HEAD ": no name\r\n\r\n", "without a space before it" },
		{ HEAD "X: a\x01"
		       "b\r\n\r\n",
			"control character" },
		{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0" },
		{ "GET / HTTP/1.1\r\n\r\n", "exactly one Host" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "exactly one Host" },
		{ "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "Host is a name" },
		{ "GET / HTTP/1.1\nHost: a\n\n", "CR and LF" },
		{ "GET / HTTP/1.1\r\nHost: a\n\r\n", "CR and LF" },
		{ "GET / HTTP/1.1\rHost: a\r\r", "CR and LF" },
		{ "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "CR and LF" },
		{ "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "printable ASCII" },
		{ "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "printable ASCII" },
		{ "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", "NUL" },
		{ "GET /\r\n\r\n", "first line" },
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "version" },
		{ "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "method" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		is_refused(wrong[i].text, strlen(wrong[i].text), SUBSTITUTE, wrong[i].why);
	is_refused(with_nul, sizeof(with_nul) - 1, SUBSTITUTE, "NUL");
}

static void a_wrong_chunk_ends_the_body(void **state)
{
	static const struct {
		const char *chunks, *seen;
	} wrong[] = {
		{ "zz\r\n12345", "0\r\n\r\n" },
		{ "-5\r\n12345", "0\r\n\r\n" },
		{ "5\n12345\r\n", "0\r\n\r\n" },
		{ "fffffffffffffffff\r\n1", "0\r\n\r\n" },
		{ "5 \x01\r\n12345", "0\r\n\r\n" },
		{ "5\r\n12345XX0\r\n\r\n", "5\r\n12345\r\n0\r\n\r\n" },
		{ "5\r\n12345\r\nx\r\n", "5\r\n12345\r\n0\r\n\r\n" },
		{ "5\r\n12345\r\n0\r\nA: b\nC: d\r\n\r\n", "5\r\n12345\r\n0\r\n\r\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char text[300], wanted[300];

		snprintf(text, sizeof(text), HEAD "Transfer-Encoding: chunked\r\n\r\n%s", wrong[i].chunks);
		snprintf(wanted, sizeof(wanted), HEAD "Transfer-Encoding: chunked\r\n\r\n%s", wrong[i].seen);
		is_refused(text, strlen(text), wanted, "chunked body");
	}
}

/* More of something than the parser's memory holds. */
static void a_head_has_bounds(void **state)
{
	static const struct {
		const char *head, *piece;
		size_t right, wrong;
	} bounds[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\n", "X: y\r\n", HEAD_FIELDS - 1, HEAD_FIELDS },
		{ "GET / HTTP/1.1\r\nHost: a\r\nCookie: a", ";b=c", HEAD_COOKIES - 1, HEAD_COOKIES },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: ", "y", 60000, HEAD_LIMIT },
		{ "GET /", "y", 60000, 10 * HEAD_LIMIT },
		{ "GET /?a", "&b=c", HEAD_ARGUMENTS - 1, HEAD_ARGUMENTS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		for (int over = 0; over < 2; over++) {
			char *text = calloc(1, 1 << 20), *at = stpcpy(text, bounds[i].head);
			size_t count = over ? bounds[i].wrong : bounds[i].right;
			const char *end = i >= 3 ? " HTTP/1.1\r\nHost: a\r\n\r\n" : i == 0 ? "\r\n" : "\r\n\r\n";
			struct rounds_error fault;

			while (count--)
				at = stpcpy(at, bounds[i].piece);
			at = stpcpy(at, end);
			fault = pass(text, (size_t)(at - text), 4096, 4096);
			assert_int_equal(fault.kind, over ? ERROR_HEAD_TOO_LARGE : ERROR_NONE);
			assert_string_equal(seen, over ? SUBSTITUTE : text);
			free(text);
		}
	}
}

static void a_connection_that_waits_holds_nothing(void **state)
{
	struct framing framing = { 0 };
	struct sent sent = { HEAD "\r\n" HEAD, 2 * strlen(HEAD) + 2, 0, strlen(HEAD) + 2 };

	assert_int_equal(framing_read(&framing, send_some, &sent, seen, 1000), strlen(HEAD) + 2);
	assert_null(framing.held);
	assert_false(framing_in_head(&framing));
	assert_int_equal(framing_read(&framing, send_some, &sent, seen, 1000), 0); /* half a request and the end */
	assert_true(framing_in_head(&framing));
	assert_int_equal(framing_held(&framing), strlen(HEAD));
	framing_clear(&framing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_right_passes_as_it_is),
		cmocka_unit_test(chunks_come_in_one_form),
		cmocka_unit_test(an_empty_line_or_two_before_a_request_is_forgiven),
		cmocka_unit_test(what_is_ambiguous_never_reaches_the_parser),
		cmocka_unit_test(a_wrong_chunk_ends_the_body),
		cmocka_unit_test(a_head_has_bounds),
		cmocka_unit_test(a_connection_that_waits_holds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
