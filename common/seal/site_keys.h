/*
 * What a site says of its keys: a statement that its identity key signs, and, from the second on, the identity key of the
 * statement before. So whoever trusts one statement can follow to the next without asking anybody; whoever is shown a key that
 * the old one has not signed sees a stranger, or a site that has lost its key.
 *
 *     statement = record "rounds site keys 1", signature of its identity key, signature of the identity key before
 *
 * In the first the second signature is of zeros.
 */
#ifndef ROUNDS_COMMON_SEAL_SITE_KEYS_H
#define ROUNDS_COMMON_SEAL_SITE_KEYS_H

#include "common/digest.h"
#include "common/seal/record.h"

struct site_keys {
	char site[64];                       /* its name */
	uint64_t generation;                 /* from 1; each statement one more */
	uint64_t made_us;                    /* wall time; for people, nothing follows from it */
	struct public_key identity, sealing; /* Ed25519, X25519 */
	struct digest previous;              /* of the whole statement before; of the first: zeros */
};

struct site_secrets {
	struct secret_key identity, sealing;
};
void site_secrets_wipe(struct site_secrets *secrets);
static inline void site_secrets_cleanup(struct site_secrets *secrets)
{
	site_secrets_wipe(secrets);
}

#define STATEMENT_LIMIT 512 /* bytes */

struct statement {
	uint8_t bytes[STATEMENT_LIMIT];
	size_t size;
};
#define STATEMENT_TEXT_SIZE (2 * STATEMENT_LIMIT + 1)

/*
 * Signs a statement for these secrets, made now. `before` and `old` (both NULL: this is the site's first) are the statement before
 * and the identity key of that time.
 */
must_check int statement_make(struct world *world, const char *site, const struct site_secrets *secrets,
	const struct statement *before, const struct secret_key *old, struct statement *statement,
	struct rounds_error *error);

/* ERROR_INVALID or ERROR_CHECKSUM unless it is well-formed and its own identity key has signed it. */
must_check int statement_read(const struct statement *statement, struct site_keys *keys, struct rounds_error *error);

/* ERROR_CHECKSUM unless `next` comes right after `before`, and the identity key of `before` has signed it. */
must_check int statement_follows(
	const struct statement *before, const struct statement *next, struct rounds_error *error);

bool statement_equal(const struct statement *a, const struct statement *b);

/* As hexadecimal digits; ERROR_INVALID for what is none. */
void statement_format(const struct statement *statement, char text[STATEMENT_TEXT_SIZE]);
must_check int statement_parse(const char *text, struct statement *statement, struct rounds_error *error);

#endif
