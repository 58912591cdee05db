/*
 * A consortium's list of its sites' fingerprints, signed by a key that is kept offline, so that not every pair of sites has to
 * use the telephone:
 *
 *     {"number": 3, "peers": {"hospital-a": "3f2a 91c0 ...", ...}, "signature": "128 hexadecimal digits"}
 *
 * What is signed is no JSON: the record "rounds peer list 1" of the number, how many peers there are and SHA-256 of their records
 * "rounds peer 1", in order of their names' bytes. A newer list has a greater number.
 */
#ifndef ROUNDS_COMMON_SEAL_PEER_LIST_H
#define ROUNDS_COMMON_SEAL_PEER_LIST_H

#include "common/seal/key.h"

#include <jansson.h>
#include <stdbool.h>

/* ERROR_INVALID for what is no such list, ERROR_CHECKSUM unless it is signed with this Ed25519 key. */
must_check int peer_list_check(
	const json_t *list, const struct public_key *key, int64_t *number, struct rounds_error *error);
/* Puts the signature into a list that is well-formed but for it. */
must_check int peer_list_sign(json_t *list, const struct secret_key *secret, struct rounds_error *error);

/* Whether a list that was checked names this identity key for this site. */
bool peer_list_has(const json_t *list, const char *site, const struct public_key *identity);

#endif
