#include "common/seal/letter.h"

#include <openssl/crypto.h>
#include <string.h>

/* A table is read by its columns. */
/* clang-format off */
#define PLACE \
	RECORD_FIELD(RECORD_TEXT, struct letter, job), \
	RECORD_FIELD(RECORD_INTEGER, struct letter, round), \
	RECORD_FIELD(RECORD_INTEGER, struct letter, term), \
	RECORD_FIELD(RECORD_TEXT, struct letter, kind), \
	RECORD_FIELD(RECORD_TEXT, struct letter, sender), \
	RECORD_FIELD(RECORD_TEXT, struct letter, recipient), \
	RECORD_FIELD(RECORD_BYTES, struct letter, identity), \
	RECORD_FIELD(RECORD_BYTES, struct letter, sealing), \
	RECORD_FIELD(RECORD_INTEGER, struct letter, number), \
	RECORD_FIELD(RECORD_BYTES, struct letter, before)
#define FACTS \
	RECORD_FIELD(RECORD_INTEGER, struct letter, content.size), \
	RECORD_FIELD(RECORD_BYTES, struct letter, content.commitment), \
	RECORD_FIELD(RECORD_BYTES, struct letter, content.sealed), \
	RECORD_FIELD(RECORD_BYTES, struct letter, content.plain)
#define KEY \
	RECORD_FIELD(RECORD_BYTES, struct letter, enc), \
	RECORD_FIELD(RECORD_BYTES, struct letter, wrap)
/* clang-format on */

static const struct record_field place_fields[] = { PLACE, { NULL } };
static const struct record_field facts_fields[] = { FACTS, { NULL } };
static const struct record_field letter_fields[] = { PLACE, FACTS, KEY, { NULL } };

static const struct record place_record = { "rounds letter place 1", place_fields, sizeof(struct letter) },
			   facts_record = { "rounds letter facts 1", facts_fields, sizeof(struct letter) },
			   letter_record = { "rounds letter 1", letter_fields, sizeof(struct letter) };

/* What HPKE binds the wrapped key to. */
struct binding {
	uint8_t info[RECORD_LIMIT], aad[RECORD_LIMIT];
	size_t info_size, aad_size;
};

static int bind_key(const struct letter *letter, struct binding *binding, struct rounds_error *error)
{
	return record_encode(&place_record, letter, binding->info, &binding->info_size, error) ||
			       record_encode(&facts_record, letter, binding->aad, &binding->aad_size, error)
		       ? -1
		       : 0;
}

static void thread_move(struct thread *thread, const struct letter *letter, const struct letter_bytes *bytes)
{
	thread->number = letter->number;
	digest_of(bytes->bytes, bytes->size, &thread->last);
}

int letter_seal(struct world *world, struct letter *letter, const struct secret_key *secret,
	const struct secret_key *content_key, struct thread *thread, struct letter_bytes *out,
	struct rounds_error *error)
{
	scoped(hpke) struct hpke hpke = { 0 };
	struct binding binding;

	letter->number = thread->number + 1;
	letter->before = thread->last;
	if (signing_public(secret, &letter->identity, error) || bind_key(letter, &binding, error) ||
		hpke_send(world, &hpke, &letter->sealing, (struct span){ binding.info, binding.info_size },
			letter->enc, error) ||
		hpke_seal(&hpke, (struct span){ binding.aad, binding.aad_size },
			(struct span){ content_key->bytes, KEY_SIZE }, letter->wrap, error) ||
		record_sign(&letter_record, letter, secret, out->bytes, &out->size, error))
		return -1;
	thread_move(thread, letter, out);
	return 0;
}

static int refuse(struct rounds_error *error, const char *field, const char *message)
{
	error_field(error, field, "%s", message);
	error->kind = ERROR_CHECKSUM;
	return -1;
}

int letter_read(const struct letter_bytes *bytes, struct letter *letter, struct rounds_error *error)
{
	struct span record;
	const uint8_t *signature;

	return record_split((struct span){ bytes->bytes, bytes->size }, &record, &signature, error) ||
			       record_decode(&letter_record, record, letter, error)
		       ? -1
		       : 0;
}

static int check_signature(
	const struct letter_bytes *bytes, const struct public_key *identity, struct rounds_error *error)
{
	struct span record;
	const uint8_t *signature;

	if (record_split((struct span){ bytes->bytes, bytes->size }, &record, &signature, error))
		return -1;
	if (signature_check(identity, record, signature, error))
		return refuse(error, "signature", "is not the sender's, or the letter was changed");
	return 0;
}

static int check_place(
	const struct letter *letter, const struct letter_expected *expected, struct rounds_error *error)
{
	struct public_key own;

	if (sealing_public(expected->sealing, &own, error))
		return -1;
	if (strcmp(letter->recipient, expected->recipient) != 0)
		return refuse(error, "recipient", "is another site: the letter is not for this one");
	if (strcmp(letter->sender, expected->sender) != 0)
		return refuse(error, "sender", "is another site than the one that it is said to be from");
	if (memcmp(letter->identity.bytes, expected->identity->bytes, KEY_SIZE) != 0)
		return refuse(error, "identity", "is another key than the one that is pinned for its sender");
	if (memcmp(letter->sealing.bytes, own.bytes, KEY_SIZE) != 0)
		return refuse(error, "sealing", "is not the key of this site that is in use");
	if (strcmp(letter->job, expected->job) != 0)
		return refuse(error, "job", "is another one");
	if (letter->round != expected->round)
		return refuse(error, "round", "is another one");
	if (letter->term != expected->term)
		return refuse(error, "term", "is another one");
	if (strcmp(letter->kind, expected->kind) != 0)
		return refuse(error, "kind", "is another one");
	return 0;
}

static int check_thread(const struct letter *letter, const struct thread *thread, struct rounds_error *error)
{
	char message[160];

	if (letter->number == thread->number + 1 && digest_equal(&letter->before, &thread->last))
		return 0;
	if (letter->number == thread->number + 1)
		snprintf(message, sizeof(message), "is that of message %llu, which follows on another one than came",
			(unsigned long long)letter->number);
	else if (letter->number <= thread->number)
		snprintf(message, sizeof(message), "is that of message %llu, which came before",
			(unsigned long long)letter->number);
	else
		snprintf(message, sizeof(message), "is too great: message %llu from %s never came",
			(unsigned long long)thread->number + 1, letter->sender);
	return refuse(error, "number", message);
}

static int unwrap(const struct letter *letter, const struct secret_key *sealing, struct secret_key *content_key,
	struct rounds_error *error)
{
	scoped(hpke) struct hpke hpke = { 0 };
	struct binding binding;

	if (bind_key(letter, &binding, error))
		return -1;
	if (hpke_receive(&hpke, sealing, letter->enc, (struct span){ binding.info, binding.info_size }, error) ||
		hpke_open(&hpke, (struct span){ binding.aad, binding.aad_size },
			(struct span){ letter->wrap, WRAP_SIZE }, content_key->bytes, error))
		return refuse(error, "wrap", "does not open with this site's key: it was sealed for another letter");
	return 0;
}

int letter_open(const struct letter_bytes *bytes, const struct letter_expected *expected, struct thread *thread,
	struct letter *letter, struct secret_key *content_key, struct rounds_error *error)
{
	if (letter_read(bytes, letter, error) || check_place(letter, expected, error) ||
		check_signature(bytes, expected->identity, error) || check_thread(letter, thread, error) ||
		unwrap(letter, expected->sealing, content_key, error))
		return -1;
	thread_move(thread, letter, bytes);
	return 0;
}
