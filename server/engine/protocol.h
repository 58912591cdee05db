/*
 * What sites of each version of the protocol say and are told. A hospital updates its program when it can, so a server
 * answers every version from PROTOCOL_OLDEST to PROTOCOL_VERSION in its own words: an older site may not say what came
 * later, and is told nothing that it would not understand.
 */
#ifndef ROUNDS_SERVER_ENGINE_PROTOCOL_H
#define ROUNDS_SERVER_ENGINE_PROTOCOL_H

#include "common/error.h"
#include "common/fields.h"
#include "common/protocol.h"

#include <jansson.h>
#include <stdint.h>

struct protocol {
	int version;
	const struct field *claim; /* what a site says of itself when it asks for work */
	/*
	 * Seconds of a lease that a site is told at most. A site of version 1 sends its heartbeats three times in a lease, and
	 * hears of an abort with the next one; later versions send one every five seconds, whatever the lease.
	 */
	int64_t longest_lease;
	bool tells_draining; /* a site that drains is told so with its task and with its heartbeats */
};

/* In order of version, PROTOCOL_OLDEST first. */
extern const struct protocol protocols[PROTOCOL_VERSION - PROTOCOL_OLDEST + 1];

/* What a site of this version is told of a lease, in seconds; the server keeps its own. */
int64_t protocol_lease(int64_t version, int64_t lease_us);

bool protocol_tells_draining(int64_t version);

/* NULL for a version that this server does not speak. */
const struct protocol *protocol_find(int64_t version);

/*
 * A claim's facts in the words of its version, checked, with defaults: a new reference. Beside what was said it has
 * `tables`: {dataset: {"columns", "rows", "label"}}, each null where the site does not tell it; or null itself, from a
 * site that tells of none. ERROR_UPGRADE for a version that is not spoken here.
 */
must_check int protocol_claim(const json_t *given, json_t **facts, struct rounds_error *error);

/* A task as a site of this version is told of it, from its row and its job's: a new reference. */
json_t *protocol_task(int64_t version, const json_t *task, const json_t *job);

/*
 * The files that a result brings, {name: {"digest", "size", "data"}}, unchecked, in whichever words they were said: protocol 1 has
 * `update` and `update_data`. A new reference; NULL without memory.
 */
json_t *protocol_result_files(const json_t *body);
/* What the site is told of a result with these files that was accepted, in the words of the body: a new reference. */
json_t *protocol_result_answer(const json_t *body, const json_t *task, const json_t *files, double distance);
/* Names the member at fault in the words of the body. */
void protocol_result_fault(const json_t *body, struct rounds_error *error);

#endif
