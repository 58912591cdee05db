#include "common/seal/content.h"

#include "common/file.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <unistd.h>

enum { SEALED_CHUNK = CONTENT_CHUNK + AEAD_TAG_SIZE };

/* What is derived from the content key, and the buffers; wiped when its scope ends. */
struct stream {
	uint8_t key[AEAD_KEY_SIZE], salt[KDF_SIZE], commitment[KDF_SIZE];
	struct digest_stream *plain, *sealed;
	uint64_t number; /* of the next chunk */
	uint8_t *chunk, *sealed_chunk;
};

static void stream_end(struct stream *stream)
{
	digest_stream_free(stream->plain);
	digest_stream_free(stream->sealed);
	if (stream->chunk)
		OPENSSL_cleanse(stream->chunk, CONTENT_CHUNK);
	free(stream->chunk);
	free(stream->sealed_chunk);
	OPENSSL_cleanse(stream, sizeof(*stream));
}

static void stream_cleanup(struct stream *stream)
{
	stream_end(stream);
}

static int derive(const struct secret_key *key, const char *label, uint8_t out[KDF_SIZE], struct rounds_error *error)
{
	const struct span part = span_of(label);

	return kdf_expand(key->bytes, &part, 1, out, KDF_SIZE, error);
}

static int stream_begin(struct stream *stream, const struct secret_key *key, struct rounds_error *error)
{
	static const char domain[] = "rounds content 1 plain";

	*stream = (struct stream){
		.plain = digest_stream_new(),
		.sealed = digest_stream_new(),
		.chunk = malloc(CONTENT_CHUNK),
		.sealed_chunk = malloc(SEALED_CHUNK),
	};
	if (!stream->plain || !stream->sealed || !stream->chunk || !stream->sealed_chunk)
		return error_no_memory(error);
	if (derive(key, "rounds content 1 chunks", stream->key, error) ||
		derive(key, "rounds content 1 salt", stream->salt, error) ||
		derive(key, "rounds content 1 commitment", stream->commitment, error))
		return -1;
	digest_stream_add(stream->plain, domain, sizeof(domain) - 1);
	digest_stream_add(stream->plain, stream->salt, KDF_SIZE);
	return 0;
}

static struct span chunk_data(void)
{
	return span_of("rounds content 1");
}

static void chunk_nonce(struct stream *stream, bool last, uint8_t nonce[AEAD_NONCE_SIZE])
{
	memset(nonce, 0, AEAD_NONCE_SIZE);
	for (size_t i = 0; i < sizeof(stream->number); i++)
		nonce[AEAD_NONCE_SIZE - 2 - i] = (uint8_t)(stream->number >> 8 * i);
	nonce[AEAD_NONCE_SIZE - 1] = last;
	stream->number++;
}

/* As many bytes as there are, up to `size`. */
static int read_some(int fd, uint8_t *bytes, size_t size, size_t *got, struct rounds_error *error)
{
	for (*got = 0; *got < size;) {
		ssize_t more = read(fd, bytes + *got, size - *got);

		if (more < 0 && errno == EINTR)
			continue;
		if (more < 0)
			return error_errno(error, "cannot read");
		if (more == 0)
			break;
		*got += (size_t)more;
	}
	return 0;
}

uint64_t content_sealed_size(uint64_t plain_size)
{
	uint64_t chunks = plain_size ? (plain_size + CONTENT_CHUNK - 1) / CONTENT_CHUNK : 1;

	return plain_size + chunks * AEAD_TAG_SIZE;
}

static int seal_chunk(struct stream *stream, size_t size, bool last, int to, struct rounds_error *error)
{
	const struct span plain = { stream->chunk, size };
	uint8_t nonce[AEAD_NONCE_SIZE];

	chunk_nonce(stream, last, nonce);
	if (aead_seal(stream->key, nonce, chunk_data(), plain, stream->sealed_chunk, error))
		return -1;
	digest_stream_add(stream->plain, stream->chunk, size);
	digest_stream_add(stream->sealed, stream->sealed_chunk, size + AEAD_TAG_SIZE);
	return file_write_all(to, stream->sealed_chunk, size + AEAD_TAG_SIZE, error);
}

int content_seal(
	const struct secret_key *key, int from, int to, struct content_facts *facts, struct rounds_error *error)
{
	scoped(stream) struct stream stream = { 0 };
	size_t held, got;
	uint8_t next = 0;

	if (stream_begin(&stream, key, error) || read_some(from, stream.chunk, CONTENT_CHUNK, &held, error))
		return -1;
	*facts = (struct content_facts){ 0 };
	for (bool last = false; !last;) {
		/* A chunk is the last one if nothing follows, which only the next byte tells. */
		if (read_some(from, &next, 1, &got, error))
			return -1;
		last = got == 0 || held < CONTENT_CHUNK;
		facts->size += held + AEAD_TAG_SIZE;
		if (facts->size > CONTENT_LIMIT)
			return error_set(error, ERROR_TOO_LARGE, "this is too long to be sealed");
		if (seal_chunk(&stream, held, last, to, error))
			return -1;
		stream.chunk[0] = next;
		if (!last && read_some(from, stream.chunk + 1, CONTENT_CHUNK - 1, &held, error))
			return -1;
		held++;
	}
	memcpy(facts->commitment, stream.commitment, KDF_SIZE);
	digest_stream_finish(stream.sealed, &facts->sealed);
	digest_stream_finish(stream.plain, &facts->plain);
	return 0;
}

static int open_chunk(struct stream *stream, size_t size, bool last, int to, struct rounds_error *error)
{
	uint8_t nonce[AEAD_NONCE_SIZE];
	size_t plain = size - AEAD_TAG_SIZE;

	chunk_nonce(stream, last, nonce);
	if (aead_open(stream->key, nonce, chunk_data(), (struct span){ stream->sealed_chunk, size }, stream->chunk,
		    error))
		return error->kind == ERROR_CHECKSUM
			       ? error_set(error, ERROR_CHECKSUM, "chunk %llu was changed, or is another one",
					 (unsigned long long)stream->number)
			       : -1;
	digest_stream_add(stream->plain, stream->chunk, plain);
	digest_stream_add(stream->sealed, stream->sealed_chunk, size);
	return to < 0 ? 0 : file_write_all(to, stream->chunk, plain, error);
}

static int open_chunks(
	struct stream *stream, const struct content_facts *facts, int from, int to, struct rounds_error *error)
{
	uint64_t left = facts->size;
	size_t got;

	while (left > 0) {
		size_t size = left < SEALED_CHUNK ? (size_t)left : SEALED_CHUNK;

		if (read_some(from, stream->sealed_chunk, size, &got, error))
			return -1;
		if (got < size)
			return error_set(error, ERROR_CHECKSUM, "its end is cut off: %llu of %llu bytes are there",
				(unsigned long long)facts->size - left + got, (unsigned long long)facts->size);
		left -= size;
		if (open_chunk(stream, size, left == 0, to, error))
			return -1;
	}
	if (read_some(from, stream->sealed_chunk, 1, &got, error))
		return -1;
	return got ? error_set(error, ERROR_CHECKSUM, "it has more than the %llu bytes that were sealed",
			     (unsigned long long)facts->size)
		   : 0;
}

/* Whether so many bytes can be chunks: only nothing at all has an empty chunk. */
static bool size_is_possible(uint64_t size)
{
	uint64_t rest = size % SEALED_CHUNK;

	return size == AEAD_TAG_SIZE || (size <= CONTENT_LIMIT && size > 0 && (rest == 0 || rest > AEAD_TAG_SIZE));
}

int content_open(
	const struct secret_key *key, const struct content_facts *facts, int from, int to, struct rounds_error *error)
{
	scoped(stream) struct stream stream = { 0 };
	struct digest sealed, plain;

	if (!size_is_possible(facts->size))
		return error_set(error, ERROR_CHECKSUM, "nothing that was sealed has %llu bytes",
			(unsigned long long)facts->size);
	if (stream_begin(&stream, key, error))
		return -1;
	if (CRYPTO_memcmp(stream.commitment, facts->commitment, KDF_SIZE) != 0)
		return error_set(error, ERROR_CHECKSUM,
			"its key is another one than the one that the sender has committed to");
	if (open_chunks(&stream, facts, from, to, error))
		return -1;
	digest_stream_finish(stream.sealed, &sealed);
	digest_stream_finish(stream.plain, &plain);
	if (!digest_equal(&sealed, &facts->sealed) || !digest_equal(&plain, &facts->plain))
		return error_set(error, ERROR_CHECKSUM, "it is not what the sender has signed the digest of");
	return 0;
}
