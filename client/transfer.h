/*
 * Weights to and from the server, so that a cut connection costs only what was on the wire: tus 1.0.0 uploads that go
 * on where the server's copy ends, downloads by range. Digests are checked at both ends.
 */
#ifndef ROUNDS_CLIENT_TRANSFER_H
#define ROUNDS_CLIENT_TRANSFER_H

#include "client/http.h"
#include "common/digest.h"

#define UPLOAD_PATH_SIZE 128

struct transfer_options {
	moved_fn *moved; /* may be NULL */
	void *context;
	uint64_t limit; /* of a download: the bytes that it may have; 0: any number */
};

/*
 * One try to get a blob to `path`: PATH.part collects it, and is renamed once its digest is right. ERROR_UNAVAILABLE
 * may be tried again and goes on where it was; ERROR_CHECKSUM if what the server holds is not that blob; ERROR_TOO_LARGE, and nothing is
 * kept, if it is larger than the limit.
 */
must_check int transfer_download(struct connection *connection, const struct digest *digest, const char *path,
	const struct transfer_options *options, struct rounds_error *error);

/*
 * One try to send the file. `upload` is the upload's path on the server, kept by the caller between tries: empty at
 * first, filled as soon as it is known, emptied when the server has forgotten it.
 */
must_check int transfer_upload(struct connection *connection, const char *path, const struct digest *digest,
	char upload[UPLOAD_PATH_SIZE], const struct transfer_options *options, struct rounds_error *error);

#endif
