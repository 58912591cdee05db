/* Proves a job's lineage: every manifest has its digest, names the one before it, and its updates give its model. */
#include "server/engine/internal.h"

#include "common/json.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"

#include <stdio.h>
#include <string.h>

struct lineage {
	const char *job;
	json_t *rounds, *row;
};

static int read_lineage(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct lineage *lineage = argument;

	return job_find(tx, lineage->job, &lineage->row, error) ||
			       round_list(tx, lineage->job, -1, 1000000, &lineage->rounds, error)
		       ? -1
		       : 0;
}

static bool is_kept(struct engine *engine, const json_t *entry, const char *name)
{
	struct digest digest;

	return digest_parse(json_text_or(entry, name, ""), &digest) && blob_is_there(engine->options.blobs, &digest);
}

static bool inputs_are_kept(struct engine *engine, const json_t *manifest)
{
	size_t i;
	json_t *input;

	json_array_foreach (json_object_get(manifest, "inputs"), i, input)
		if (!is_kept(engine, input, "update") ||
			(json_object_get(input, "base") && !is_kept(engine, input, "base")))
			return false;
	if (!is_kept(engine, manifest, "model_in") &&
		(manifest_needs_model(manifest) || (!strcmp(json_text_or(manifest, "metadata", ""), "model_in") &&
							   !is_kept(engine, manifest, "model"))))
		return false;
	return !json_object_get(manifest, "control_in") || is_kept(engine, manifest, "control_in");
}

/* Whether what was made again is what the manifest names. */
static int check_made(const struct draft *draft, const json_t *manifest, const char *name, char *fault, size_t size,
	struct rounds_error *error)
{
	char text[DIGEST_TEXT_SIZE];
	struct digest digest;

	if (!draft)
		return 0;
	if (draft_digest(draft, &digest, error))
		return -1;
	digest_format(&digest, text);
	if (strcmp(text, json_text_or(manifest, name, "")) != 0)
		snprintf(fault, size, "its updates give %s, not the recorded %s", text, name);
	return 0;
}

/* Empty text if the round is right, else what is wrong with it. */
static int check_updates(struct engine *engine, const json_t *manifest, bool *recomputed, char *fault, size_t size,
	struct rounds_error *error)
{
	struct recomputed made;
	int failed;

	*recomputed = false;
	if (json_array_size(json_object_get(manifest, "inputs")) == 0 || !inputs_are_kept(engine, manifest))
		return 0;
	if (manifest_recompute(engine, manifest, false, &made, error)) {
		if (error->kind != ERROR_CHECKSUM)
			return -1;
		snprintf(fault, size, "%s", error->message);
		return 0;
	}
	failed = check_made(made.model, manifest, "model", fault, size, error) ||
		 check_made(made.control, manifest, "control", fault, size, error);
	recomputed_free(&made);
	*recomputed = !failed;
	return failed ? -1 : 0;
}

static void check_chain(const json_t *round, const char *previous, char *fault, size_t size)
{
	const json_t *manifest = json_object_get(round, "manifest");
	scoped(text_free) char *text = json_canonical(manifest);
	const char *named = json_text_or(manifest, "previous", NULL);
	char digest_text[DIGEST_TEXT_SIZE];
	struct digest digest;

	digest_of(text ? text : "", text ? strlen(text) : 0, &digest);
	digest_format(&digest, digest_text);
	if (strcmp(digest_text, json_text_or(round, "manifest_digest", "")) != 0)
		snprintf(fault, size, "its manifest does not have the recorded digest");
	else if (strcmp(json_text_or(manifest, "model", ""), json_text_or(round, "model", "")) != 0)
		snprintf(fault, size, "its manifest names another model");
	else if (previous && (!named || strcmp(named, previous) != 0))
		snprintf(fault, size, "its manifest does not follow on the one before it");
}

static int check_model(struct engine *engine, const json_t *manifest, bool *kept, char *fault, size_t size,
	struct rounds_error *error)
{
	struct digest digest;

	*kept = false;
	if (!digest_parse(json_text_or(manifest, "model", ""), &digest))
		snprintf(fault, size, "its manifest names no model");
	else if (!blob_verify(engine->options.blobs, &digest, error))
		*kept = true;
	else if (error->kind == ERROR_CHECKSUM)
		snprintf(fault, size, "%s", error->message);
	else if (error->kind != ERROR_NOT_FOUND)
		return -1; /* not to be read just now: neither kept nor gone */
	return 0;
}

static int check_round(struct engine *engine, const json_t *round, const char *previous, json_t *results, bool *good,
	struct rounds_error *error)
{
	const json_t *manifest = json_object_get(round, "manifest");
	char fault[700] = "";
	bool recomputed = false, kept = false;

	check_chain(round, previous, fault, sizeof(fault));
	if (!fault[0] && check_model(engine, manifest, &kept, fault, sizeof(fault), error))
		return -1;
	if (!fault[0] && check_updates(engine, manifest, &recomputed, fault, sizeof(fault), error))
		return -1;
	*good = *good && !fault[0];
	json_array_append_new(
		results, json_pack("{s:O, s:b, s:b, s:b, s:s?, s:O, s:I}", "round", json_object_get(round, "number"),
				 "good", !fault[0], "recomputed", recomputed, "model_kept", kept, "fault",
				 fault[0] ? fault : NULL, "model", json_object_get(round, "model"), "inputs",
				 (json_int_t)json_array_size(json_object_get(manifest, "inputs"))));
	return 0;
}

int verify_job(struct engine *engine, const char *job, json_t **report, struct rounds_error *error)
{
	struct lineage lineage = { .job = job };
	json_auto_t *rounds = NULL, *row = NULL, *results = json_array();
	const char *previous = NULL;
	bool good = true, gap = false;
	size_t i;
	json_t *round;

	if (store_read(engine->options.store, read_lineage, &lineage, error))
		return -1;
	rounds = lineage.rounds;
	row = lineage.row;
	json_array_foreach (rounds, i, round) {
		if (!json_is_object(json_object_get(round, "manifest")))
			continue;
		/* Where history was trimmed, the chain begins anew. */
		gap = i > 0 && json_integer_or(round, "number", 0) !=
				       json_integer_or(json_array_get(rounds, i - 1), "number", 0) + 1;
		if (check_round(engine, round, gap ? NULL : previous, results, &good, error))
			return -1;
		previous = json_text_or(round, "manifest_digest", NULL);
	}
	*report = json_pack(
		"{s:b, s:O, s:O}", "good", good, "final_model", json_object_get(row, "model"), "rounds", results);
	return *report ? 0 : error_no_memory(error);
}
