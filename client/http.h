/*
 * HTTPS to one server, through libcurl, which stays inside http.c.
 *
 * A connection is for one thread at a time. Calls that fail for want of a network give ERROR_UNAVAILABLE and may be
 * tried again; an answer that is a problem (RFC 9457) becomes an error of its kind, message and field; of other servers'
 * answers, a "message" is told.
 */
#ifndef ROUNDS_CLIENT_HTTP_H
#define ROUNDS_CLIENT_HTTP_H

#include "common/error.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct connection;

struct connection_options {
	const char *url;                  /* https://host:port, or with a path */
	const char *ca_file;              /* whom to trust; NULL: the system's authorities */
	const char *ca_pem;               /* the same as text, in place of a file */
	const char *cert_file, *key_file; /* a site's; NULL: none */
	const char *token;                /* a person's; NULL: none */
	const char *user, *password;      /* in place of a token (RFC 7617); NULL: none */
	bool plain;                       /* http:// will do, too: only for servers that are not ours */
	const char *proxy;                /* NULL: HTTPS_PROXY and NO_PROXY of the environment */
	bool unverified;                  /* only to fetch an authority, whose fingerprint is checked afterwards */
	size_t answer_limit;              /* bytes of a JSON answer; 0: 64 MiB */
	const atomic_bool *stop;          /* ends calls under way when it becomes true; may be NULL */
	long patience_ms; /* what a JSON call may take, the look-up of the name included; 0: as it says */
};

/* Once per process, before threads. */
void http_global_init(void);

must_check int connection_new(
	const struct connection_options *options, struct connection **connection, struct rounds_error *error);
void connection_free(struct connection *connection);
DEFINE_CLEANUP(struct connection *, connection_free);

/*
 * A JSON call. `body` may be NULL (borrowed). *answer is a new reference, or NULL if there was no JSON; it may be NULL.
 * `seconds` is how long the server may take.
 */
must_check int connection_call(struct connection *connection, const char *method, const char *path,
	const json_t *body, long seconds, json_t **answer, struct rounds_error *error);

/* One header for the next call only, such as "Idempotency-Key: ...". */
must_check int connection_header(struct connection *connection, const char *line, struct rounds_error *error);

/* A header of the last answer, or NULL; lives until the next call. */
const char *connection_answer_header(const struct connection *connection, const char *name);
/* Seconds that a round trip took when the connection was last opened (the TCP handshake); 0: not known. */
double connection_round_trip(const struct connection *connection);
/* Whether the last call ended since nobody that is trusted stands for the server's certificate. */
bool connection_untrusted(const struct connection *connection);
long connection_status(const struct connection *connection);
/* All faults of the last answer, [{"field", "message"}], where it was a problem that lists them; else NULL. Borrowed. */
const json_t *connection_faults(const struct connection *connection);

/* Told now and then how many bytes of this transfer have moved; returns false to stop it. */
typedef bool moved_fn(void *context, uint64_t bytes);

/*
 * Appends what comes to `fd`, from `offset` on (0: all). ERROR_UNAVAILABLE if it breaks off: what came is in the file.
 * ERROR_TOO_LARGE as soon as the file would have more than `limit` bytes. No limit of time but this: a transfer that does not
 * move for a minute has failed.
 */
must_check int connection_download(struct connection *connection, const char *path, int fd, uint64_t offset,
	uint64_t limit, moved_fn *moved, void *context, struct rounds_error *error);

/* Sends `size` bytes of `fd` from `offset` as the body, whose type is the caller's to tell by connection_header. */
must_check int connection_upload(struct connection *connection, const char *method, const char *path, int fd,
	uint64_t offset, uint64_t size, moved_fn *moved, void *context, struct rounds_error *error);

#endif
