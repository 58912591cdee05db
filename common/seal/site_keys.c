#include "common/seal/site_keys.h"

#include "common/fields.h"
#include "common/hex.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

static const struct record_field fields[] = {
	RECORD_FIELD(RECORD_TEXT, struct site_keys, site),
	RECORD_FIELD(RECORD_INTEGER, struct site_keys, generation),
	RECORD_FIELD(RECORD_INTEGER, struct site_keys, made_us),
	RECORD_FIELD(RECORD_BYTES, struct site_keys, identity),
	RECORD_FIELD(RECORD_BYTES, struct site_keys, sealing),
	RECORD_FIELD(RECORD_BYTES, struct site_keys, previous),
	{ NULL },
};
static const struct record site_keys_record = { "rounds site keys 1", fields, sizeof(struct site_keys) };

void site_secrets_wipe(struct site_secrets *secrets)
{
	OPENSSL_cleanse(secrets, sizeof(*secrets));
}

static void digest_statement(const struct statement *statement, struct digest *digest)
{
	digest_of(statement->bytes, statement->size, digest);
}

/* The record that both signatures are of. */
static struct span signed_part(const struct statement *statement)
{
	return (struct span){ statement->bytes, statement->size - 2 * SIGNATURE_SIZE };
}

static int follow(const struct statement *before, struct site_keys *keys, struct rounds_error *error)
{
	struct site_keys old;

	keys->generation = 1;
	if (!before)
		return 0;
	if (statement_read(before, &old, error))
		return -1;
	keys->generation = old.generation + 1;
	digest_statement(before, &keys->previous);
	return 0;
}

int statement_make(struct world *world, const char *site, const struct site_secrets *secrets,
	const struct statement *before, const struct secret_key *old, struct statement *statement,
	struct rounds_error *error)
{
	struct site_keys keys = { .made_us = (uint64_t)world_wall_us(world) };
	uint8_t bytes[RECORD_LIMIT];
	size_t size;

	snprintf(keys.site, sizeof(keys.site), "%s", site);
	if (follow(before, &keys, error) || signing_public(&secrets->identity, &keys.identity, error) ||
		sealing_public(&secrets->sealing, &keys.sealing, error) ||
		record_sign(&site_keys_record, &keys, &secrets->identity, bytes, &size, error))
		return -1;
	if (size + SIGNATURE_SIZE > STATEMENT_LIMIT)
		return error_set(error, ERROR_INTERNAL, "a statement of keys is too long");
	memset(bytes + size, 0, SIGNATURE_SIZE);
	if (old && signature_make(old, (struct span){ bytes, size - SIGNATURE_SIZE }, bytes + size, error))
		return -1;
	statement->size = size + SIGNATURE_SIZE;
	memcpy(statement->bytes, bytes, statement->size);
	return 0;
}

int statement_read(const struct statement *statement, struct site_keys *keys, struct rounds_error *error)
{
	static const uint8_t zeros[SIGNATURE_SIZE];
	struct span record;
	bool first;

	if (statement->size <= 2 * SIGNATURE_SIZE || statement->size > STATEMENT_LIMIT)
		return error_set(error, ERROR_INVALID, "this is no statement of keys");
	record = signed_part(statement);
	if (record_decode(&site_keys_record, record, keys, error))
		return -1;
	if (!name_is_valid(keys->site))
		return error_field(error, "site", "is no name of a site");
	first = !memcmp(keys->previous.bytes, zeros, DIGEST_SIZE) &&
		!memcmp(statement->bytes + record.size + SIGNATURE_SIZE, zeros, SIGNATURE_SIZE);
	if (keys->generation == 0 || (keys->generation == 1) != first)
		return error_field(error, "generation", "is not that of this statement of keys");
	if (signature_check(&keys->identity, record, statement->bytes + record.size, error))
		return error_prefix(error, "the statement of the keys of %s", keys->site);
	return 0;
}

int statement_follows(const struct statement *before, const struct statement *next, struct rounds_error *error)
{
	struct site_keys old, new;
	struct digest digest;

	if (statement_read(before, &old, error) || statement_read(next, &new, error))
		return -1;
	digest_statement(before, &digest);
	if (strcmp(old.site, new.site) != 0 || new.generation != old.generation + 1 ||
		!digest_equal(&digest, &new.previous))
		return error_set(error, ERROR_CHECKSUM,
			"generation %llu of the keys of %s is not what follows on generation %llu",
			(unsigned long long)new.generation, new.site, (unsigned long long)old.generation);
	if (signature_check(&old.identity, signed_part(next), next->bytes + next->size - SIGNATURE_SIZE, error))
		return error_set(error, ERROR_CHECKSUM,
			"generation %llu of the keys of %s is not signed with the key before",
			(unsigned long long)new.generation, new.site);
	return 0;
}

bool statement_equal(const struct statement *a, const struct statement *b)
{
	return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

void statement_format(const struct statement *statement, char text[STATEMENT_TEXT_SIZE])
{
	hex_format(statement->bytes, statement->size, text);
}

int statement_parse(const char *text, struct statement *statement, struct rounds_error *error)
{
	size_t length = text ? strlen(text) : 0;

	statement->size = length / 2;
	if (length == 0 || length % 2 || statement->size > STATEMENT_LIMIT ||
		!hex_parse(text, statement->bytes, statement->size))
		return error_set(error, ERROR_INVALID, "this is no statement of keys in hexadecimal digits");
	return 0;
}
