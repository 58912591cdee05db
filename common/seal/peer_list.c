#include "common/seal/peer_list.h"

#include "common/digest.h"
#include "common/fields.h"
#include "common/hex.h"
#include "common/json.h"
#include "common/seal/fingerprint.h"
#include "common/seal/record.h"

#include <stdio.h>
#include <string.h>

struct listed {
	char site[64], fingerprint[FINGERPRINT_TEXT_SIZE];
};
static const struct record_field listed_fields[] = {
	RECORD_FIELD(RECORD_TEXT, struct listed, site),
	RECORD_FIELD(RECORD_TEXT, struct listed, fingerprint),
	{ NULL },
};
static const struct record listed_record = { "rounds peer 1", listed_fields, sizeof(struct listed) };

struct head {
	uint64_t number, count;
	struct digest peers;
};
static const struct record_field head_fields[] = {
	RECORD_FIELD(RECORD_INTEGER, struct head, number),
	RECORD_FIELD(RECORD_INTEGER, struct head, count),
	RECORD_FIELD(RECORD_BYTES, struct head, peers),
	{ NULL },
};
static const struct record head_record = { "rounds peer list 1", head_fields, sizeof(struct head) };

static bool fingerprint_is_valid(const char *text)
{
	uint8_t bytes[2];
	char group[5] = "";

	if (!text || strlen(text) != FINGERPRINT_TEXT_SIZE - 1)
		return false;
	for (size_t i = 0; i < FINGERPRINT_GROUPS; i++) {
		memcpy(group, text + 5 * i, 4);
		if (!hex_parse(group, bytes, 2) || (i + 1 < FINGERPRINT_GROUPS && text[5 * i + 4] != ' '))
			return false;
	}
	return true;
}

static int add_peer(struct digest_stream *stream, const char *site, const json_t *value, struct rounds_error *error)
{
	const char *fingerprint = json_string_value(value);
	struct listed listed = { .site = "" };
	uint8_t bytes[RECORD_LIMIT];
	size_t size;

	if (!name_is_valid(site) || !fingerprint_is_valid(fingerprint))
		return error_field(error, "peers",
			"must have fingerprints by the names of sites, as `rounds-site keys` shows them: \"3f2a 91c0 ...\"");
	snprintf(listed.site, sizeof(listed.site), "%s", site);
	snprintf(listed.fingerprint, sizeof(listed.fingerprint), "%s", fingerprint);
	if (record_encode(&listed_record, &listed, bytes, &size, error))
		return -1;
	digest_stream_add(stream, bytes, size);
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int digest_peers(const json_t *peers, struct digest *digest, struct rounds_error *error)
{
	scoped(digest_stream_free) struct digest_stream *stream = digest_stream_new();
	size_t count = json_object_size(peers), i = 0;
	const char **sites = calloc(count + 1, sizeof(*sites)), *site;
	json_t *value;
	int failed = stream && sites ? 0 : error_no_memory(error);

	if (!failed)
		json_object_foreach ((json_t *)(uintptr_t)peers, site, value)
			sites[i++] = site;
	if (!failed)
		qsort(sites, count, sizeof(*sites), by_bytes);
	for (i = 0; !failed && i < count; i++)
		failed = add_peer(stream, sites[i], json_object_get(peers, sites[i]), error);
	if (!failed)
		digest_stream_finish(stream, digest);
	free(sites);
	return failed;
}

/* The record that is signed. */
static int encode_head(
	const json_t *list, int64_t *number, uint8_t bytes[RECORD_LIMIT], size_t *size, struct rounds_error *error)
{
	struct head head;

	if (!json_is_object(list) || !json_is_object(json_object_get(list, "peers")))
		return error_field(error, "peers", "must be an object, in a list of peers");
	if (json_only(list, (const char *const[]){ "number", "peers", "signature", NULL }, error) ||
		json_get_integer(list, "number", true, 1, INT64_C(1) << 53, number, error) ||
		digest_peers(json_object_get(list, "peers"), &head.peers, error))
		return -1;
	head.number = (uint64_t)*number;
	head.count = json_object_size(json_object_get(list, "peers"));
	return record_encode(&head_record, &head, bytes, size, error);
}

int peer_list_check(const json_t *list, const struct public_key *key, int64_t *number, struct rounds_error *error)
{
	uint8_t bytes[RECORD_LIMIT], signature[SIGNATURE_SIZE];
	size_t size;

	if (encode_head(list, number, bytes, &size, error))
		return -1;
	if (!hex_parse(json_text_or(list, "signature", ""), signature, SIGNATURE_SIZE))
		return error_field(error, "signature", "must be %d hexadecimal digits", 2 * SIGNATURE_SIZE);
	if (signature_check(key, (struct span){ bytes, size }, signature, error))
		return error_set(error, ERROR_CHECKSUM,
			"the list of peers is not signed with the key that site.json names, or was changed");
	return 0;
}

int peer_list_sign(json_t *list, const struct secret_key *secret, struct rounds_error *error)
{
	uint8_t bytes[RECORD_LIMIT], signature[SIGNATURE_SIZE];
	char text[2 * SIGNATURE_SIZE + 1];
	size_t size;
	int64_t number;

	if (encode_head(list, &number, bytes, &size, error) ||
		signature_make(secret, (struct span){ bytes, size }, signature, error))
		return -1;
	hex_format(signature, SIGNATURE_SIZE, text);
	return json_object_set_new(list, "signature", json_string(text)) ? error_no_memory(error) : 0;
}

bool peer_list_has(const json_t *list, const char *site, const struct public_key *identity)
{
	const char *listed = json_text_or(json_object_get(list, "peers"), site, NULL);
	struct rounds_error ignored;
	uint8_t fingerprint[FINGERPRINT_SIZE];
	char text[FINGERPRINT_TEXT_SIZE];

	if (!listed || fingerprint_of(identity, fingerprint, &ignored))
		return false;
	fingerprint_text(fingerprint, text);
	return !strcmp(text, listed);
}
