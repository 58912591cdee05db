/*
 * A letter: the signed head of a sealed envelope, of one sender to one recipient. What it holds (content.h) lies apart, so that
 * one content can go to several: each gets a letter of its own, a few hundred bytes, with the content key wrapped for it by
 * HPKE.
 *
 *     letter = record "rounds letter 1", Ed25519 signature of the sender's identity key
 *     wrap   = HPKE(recipient's sealing key, info: record "rounds letter place 1", associated data: record "rounds letter facts 1")
 *
 * The place is who writes to whom about what (job, round, term, kind, number), the keys of both, and the letter before; so a
 * wrap that is taken out of its letter and put into another opens nothing. The letters from one site to another within a job
 * are a thread: they are numbered from 1 and each holds the digest of the one before. Hence a letter that is missing, comes
 * twice, comes out of turn or was put in another's place is refused by name.
 *
 * The mode without a sender's key, and a signature around it, since only that is evidence for others than the two.
 */
#ifndef ROUNDS_COMMON_SEAL_LETTER_H
#define ROUNDS_COMMON_SEAL_LETTER_H

#include "common/seal/content.h"
#include "common/seal/hpke.h"
#include "common/seal/record.h"

#define WRAP_SIZE (KEY_SIZE + AEAD_TAG_SIZE)

struct letter {
	/* Its place. */
	char job[64];
	uint64_t round, term;
	char kind[32];
	char sender[64], recipient[64];
	struct public_key identity; /* the sender's, that signs */
	struct public_key sealing;  /* the recipient's, that it is sealed to */
	uint64_t number;            /* within the thread, from 1 */
	struct digest before;       /* of the whole letter before; of the first: zeros */
	/* What it holds. */
	struct content_facts content;
	/* The content key. */
	uint8_t enc[HPKE_ENC_SIZE], wrap[WRAP_SIZE];
};

struct letter_bytes {
	uint8_t bytes[RECORD_LIMIT];
	size_t size;
};

/* Where a thread stands: at its beginning, all zeros. */
struct thread {
	uint64_t number;
	struct digest last;
};

/*
 * Wraps the content key and signs. The caller has filled in all of the letter but identity, number, before, enc and wrap; the
 * thread moves on. `secret` is the sender's identity.
 */
must_check int letter_seal(struct world *world, struct letter *letter, const struct secret_key *secret,
	const struct secret_key *content_key, struct thread *thread, struct letter_bytes *out,
	struct rounds_error *error);

/* What the recipient knows by itself, and does not take from the letter. */
struct letter_expected {
	const char *job, *kind, *sender, *recipient;
	uint64_t round, term;
	const struct public_key *identity; /* of the sender, as it is pinned here */
	const struct secret_key *sealing;  /* the recipient's */
};

/*
 * Checks a letter and unwraps its content key; the thread moves on if it returns 0. ERROR_CHECKSUM, with the field at fault:
 * for another recipient, job, round, term or kind, of another sender or key, changed, repeated, missing one before.
 */
must_check int letter_open(const struct letter_bytes *bytes, const struct letter_expected *expected,
	struct thread *thread, struct letter *letter, struct secret_key *content_key, struct rounds_error *error);

/* Reads a letter without believing it; ERROR_INVALID for what is none. */
must_check int letter_read(const struct letter_bytes *bytes, struct letter *letter, struct rounds_error *error);

#endif
