#include "common/digest.h"

#include "common/hex.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct digest_stream {
	EVP_MD_CTX *context;
};

void digest_of(const void *bytes, size_t size, struct digest *digest)
{
	if (EVP_Digest(bytes, size, digest->bytes, NULL, EVP_sha256(), NULL) != 1)
		abort();
}

void digest_format(const struct digest *digest, char text[DIGEST_TEXT_SIZE])
{
	memcpy(text, "sha256:", 7);
	hex_format(digest->bytes, DIGEST_SIZE, text + 7);
}

bool digest_parse(const char *text, struct digest *digest)
{
	return text && !strncmp(text, "sha256:", 7) && hex_parse(text + 7, digest->bytes, DIGEST_SIZE);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return !memcmp(a->bytes, b->bytes, DIGEST_SIZE);
}

int digest_file(int fd, uint64_t size, struct digest *digest, struct rounds_error *error)
{
	enum { BLOCK = 256 * 1024 };
	scoped(digest_stream_free) struct digest_stream *stream = digest_stream_new();
	scoped(text_free) char *block = malloc(BLOCK);
	uint64_t done = 0;

	if (!stream || !block)
		return error_no_memory(error);
	while (done < size) {
		size_t want = size - done < BLOCK ? (size_t)(size - done) : BLOCK;
		ssize_t got = pread(fd, block, want, (off_t)done);

		if (got < 0)
			return error_errno(error, "cannot read");
		if (got == 0)
			return error_set(error, ERROR_IO, "the file is shorter than expected");
		digest_stream_add(stream, block, (size_t)got);
		done += (uint64_t)got;
	}
	digest_stream_finish(stream, digest);
	return 0;
}

struct digest_stream *digest_stream_new(void)
{
	struct digest_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->context = EVP_MD_CTX_new();
	if (!stream->context || EVP_DigestInit_ex(stream->context, EVP_sha256(), NULL) != 1) {
		digest_stream_free(stream);
		return NULL;
	}
	return stream;
}

void digest_stream_free(struct digest_stream *stream)
{
	if (!stream)
		return;
	EVP_MD_CTX_free(stream->context);
	free(stream);
}

void digest_stream_add(struct digest_stream *stream, const void *bytes, size_t size)
{
	if (EVP_DigestUpdate(stream->context, bytes, size) != 1)
		abort();
}

void digest_stream_finish(struct digest_stream *stream, struct digest *digest)
{
	if (EVP_DigestFinal_ex(stream->context, digest->bytes, NULL) != 1 ||
		EVP_DigestInit_ex(stream->context, EVP_sha256(), NULL) != 1)
		abort();
}
