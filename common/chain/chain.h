/*
 * A chain of records that can grow and not be changed: each link is the digest of the link before it and of the record, so
 * that a record that is changed, taken out or put in is found where it happened; a signed checkpoint says how long the chain
 * was and where it ended, so that its end is not cut off unseen either (the linear hash chain of Haber and Stornetta, 1991;
 * signatures are Ed25519, RFC 8032).
 *
 *     link(0)    = SHA-256("rounds chain 1\n" name "\n")
 *     link(n)    = SHA-256(link(n - 1) as 32 bytes, n in decimal, "\n", record)
 *     signature  = Ed25519("rounds checkpoint 1\n" name "\n" length "\n" link as text "\n" time "\n")
 *
 * A record is canonical JSON (json_canonical). An export, which is all that a verifier needs beside the public key, is lines
 * of canonical JSON: what comes first, the records, and the checkpoint of the last one:
 *
 *     {"after":0,"chain":"audit","link":"sha256:..."}
 *     {"link":"sha256:...","n":1,"record":{...}}
 *     {"checkpoint":{"length":1,"link":"sha256:...","time":"..."},"signature":"base64"}
 */
#ifndef ROUNDS_COMMON_CHAIN_CHAIN_H
#define ROUNDS_COMMON_CHAIN_CHAIN_H

#include "common/digest.h"
#include "common/error.h"

#include <jansson.h>
#include <stdio.h>

struct chain_head {
	int64_t length; /* records so far */
	struct digest link;
};

void chain_begin(const char *name, struct chain_head *head);
/* `record`: its canonical text. */
void chain_append(struct chain_head *head, const char *record);

/* Keys, as PEM text: the private one is a secret. The caller frees. */
must_check int chain_key_new(char **private_pem, struct rounds_error *error);
must_check int chain_key_public(const char *private_pem, char **public_pem, struct rounds_error *error);

#define CHAIN_SIGNATURE_SIZE 89 /* base64 of 64 bytes, and the NUL */

struct checkpoint {
	struct chain_head head;
	char time[32]; /* RFC 3339 */
	char signature[CHAIN_SIGNATURE_SIZE];
};
/* Fills in time and signature for the head that is there. */
must_check int checkpoint_sign(const char *name, const char *private_pem, int64_t wall_us,
	struct checkpoint *checkpoint, struct rounds_error *error);
/* ERROR_CHECKSUM unless the signature is of this checkpoint. */
must_check int checkpoint_check(
	const char *name, const char *public_pem, const struct checkpoint *checkpoint, struct rounds_error *error);

/* The lines of an export, without their ends; NULL without memory, the caller frees. */
char *chain_line_begin(const char *name, const struct chain_head *before);
char *chain_line_record(int64_t n, const char *link, const char *record);
char *chain_line_checkpoint(const struct checkpoint *checkpoint);

/*
 * Reads an export to its end: the record at fault is named in the error (ERROR_CHECKSUM), whether a byte was changed, a record
 * taken out or the end cut off. `earlier` (NULL: none) is a checkpoint that is known from before: the chain must hold it.
 */
must_check int chain_verify(FILE *export, const char *name, const char *public_pem, const struct checkpoint *earlier,
	struct checkpoint *last, struct rounds_error *error);

#endif
