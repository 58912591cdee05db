/*
 * What is signed is never text that two programs may read differently: it is a record, bytes with one meaning and a meaning with
 * one form.
 *
 *     record = length of the domain (1 byte), domain, fields in the order of the table
 *     field  = its place in the table, from 1 (1 byte), length of the value (4 bytes), value
 *
 * Numbers are in big endian. The domain ("rounds letter 1") says what the record is and which version of it, so that no
 * signature of one kind of record is one of another. A record is read in full or not at all: another domain, another order, a
 * field more or less, a length that the table does not have, text that is no UTF-8 or holds a NUL, bytes behind the end.
 *
 * A table describes a struct of plain arrays and integers; it is both the writer and the reader.
 */
#ifndef ROUNDS_COMMON_SEAL_RECORD_H
#define ROUNDS_COMMON_SEAL_RECORD_H

#include "common/seal/key.h"

enum record_kind {
	RECORD_TEXT,    /* char[size], with its NUL */
	RECORD_INTEGER, /* uint64_t; 8 bytes */
	RECORD_BYTES    /* uint8_t[size], all of it */
};

struct record_field {
	const char *name;
	enum record_kind kind;
	size_t offset, size;
};

#define RECORD_FIELD(kind, type, member)                                                                             \
	{                                                                                                            \
#member, kind, offsetof(type, member), sizeof(((type *)NULL)->member)                                \
	}

struct record {
	const char *domain;
	const struct record_field *fields; /* ends with a field without a name */
	size_t size;                       /* of the struct */
};

#define RECORD_LIMIT 2048 /* bytes of one record with its signatures */

/* *size: how many bytes of `out` were written. */
must_check int record_encode(const struct record *record, const void *value, uint8_t out[RECORD_LIMIT], size_t *size,
	struct rounds_error *error);
/* Fills the struct; ERROR_INVALID otherwise, with the field at fault. */
must_check int record_decode(const struct record *record, struct span bytes, void *value, struct rounds_error *error);

/* The record and the signature of it behind it. */
must_check int record_sign(const struct record *record, const void *value, const struct secret_key *secret,
	uint8_t out[RECORD_LIMIT], size_t *size, struct rounds_error *error);
/* Splits what record_sign made; nothing is checked yet but that a signature is there. */
must_check int record_split(
	struct span whole, struct span *record, const uint8_t **signature, struct rounds_error *error);

#endif
