#include "client/site/delivery.h"

#include "client/site/words.h"
#include "common/artifact.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Small files go into the result itself, each of at most so many bytes and all together. */
enum { SMALL = 12 * 1024, SMALL_ALL = 64 * 1024, STOP_MS = 1000 };

/* A small file as text in base64, or NULL. */
static json_t *small_file(const char *path, size_t size)
{
	unsigned char text[4 * (SMALL / 3 + 1) + 1];
	char *bytes = NULL;
	struct rounds_error error;

	if (size == 0 || size > SMALL || file_read(path, SMALL, &bytes, &size, &error))
		return NULL;
	EVP_EncodeBlock(text, (const unsigned char *)bytes, (int)size);
	free(bytes);
	return json_string((const char *)text);
}

/* What is left to say just before the result goes. After a restart only what the spool has kept is known. */
static void end_timings(struct work *work)
{
	double round_trip = connection_round_trip(work->slot->connection);
	json_t *files = json_object_get(work->entry, "files"), *file;
	int64_t size = 0;
	const char *name;

	json_object_foreach (files, name, file)
		size += json_integer_or(file, "size", 0);
	if (json_object_size(files) > 0)
		json_object_set_new(work->timings, "uploaded", json_integer(size));
	json_object_set_new(
		work->timings, "upload", json_real((double)(clock_steady_us() - work->since) / (double)SECOND_US));
	if (round_trip > 0)
		json_object_set_new(work->timings, "round_trip", json_real(round_trip));
}

/* How far the delivery is, from one try to the next. */
struct delivery {
	bool uploads;  /* the server has not taken a small file with the result */
	bool uploaded; /* nothing is left to upload: what is refused from here on is the result */
};

/* One file of the entry; what is uploaded is marked there, so that a restart goes on behind it. */
static int upload_file(struct work *work, const struct artifact *file, const char *path, struct rounds_error *error)
{
	struct transfer_options options = { .moved = work_moved, .context = work };
	json_t *entry = json_object_get(json_object_get(work->entry, "files"), file->name);
	struct digest digest;

	if (json_bool_or(entry, "uploaded", false))
		return 0;
	if (!digest_parse(file->digest, &digest))
		return error_set(error, ERROR_INVALID, "the kept result is incomplete");
	work->size = (double)file->size;
	if (transfer_upload(work->slot->connection, path, &digest, work->upload, &options, error)) {
		work_moved(work, 0); /* the upload may have been forgotten */
		return -1;
	}
	json_object_set_new(entry, "uploaded", json_true());
	work->upload[0] = '\0';
	json_object_set_new(work->entry, "upload", json_string(""));
	return spool_update(work->slot->site->spool, work->entry, error);
}

/* Everything that is not small goes to the server; what is small goes into `told`, {name: {"digest", "size", "data"}}. */
static int send_files(struct work *work, bool uploads, json_t *told, struct rounds_error *error)
{
	json_t *files = json_object_get(work->entry, "files"), *entry;
	size_t room = SMALL_ALL;
	const char *name;

	json_object_foreach (files, name, entry) {
		scoped(text_free) char *path = spool_file_path(work->slot->site->spool, work->id, name);
		json_t *data = NULL;
		struct artifact file;
		struct stat status;

		if (!path)
			return error_no_memory(error);
		if (!artifact_find(files, name, &file) || stat(path, &status))
			return error_set(error, ERROR_INVALID, "the kept result is incomplete");
		file.size = (int64_t)status.st_size;
		if (!uploads && (size_t)status.st_size <= room)
			data = small_file(path, (size_t)status.st_size);
		room -= data ? (size_t)status.st_size : 0;
		if (artifact_put(told, &file)) {
			json_decref(data);
			return error_no_memory(error);
		}
		if (data)
			json_object_set_new(json_object_get(told, name), "data", data);
		else if (upload_file(work, &file, path, error))
			return -1;
	}
	return 0;
}

/* In the words of the protocol that the server speaks: the first had one file, and a member for it. */
static json_t *result_body(const struct work *work, json_t *files)
{
	json_t *body = json_pack("{s:O*, s:O*, s:O}", "weight", json_object_get(work->entry, "weight"), "metrics",
		json_object_get(work->entry, "metrics"), "timings", work->timings);
	const json_t *update = json_object_get(files, "update");

	if (site_protocol(work->slot->site) > 1) {
		json_object_set(body, "files", files);
		json_object_set(body, "lacks", json_object_get(work->entry, "lacks"));
	} else if (update) {
		json_object_set(body, "update", json_object_get(update, "digest"));
		json_object_set(body, "update_data", json_object_get(update, "data"));
	}
	return body;
}

/* One try; passing errors may be tried again. */
static int deliver_once(struct work *work, struct delivery *delivery, struct rounds_error *error)
{
	scoped(text_free) char *path = work_call(work, "result");
	json_auto_t *body = NULL, *answer = NULL, *files = json_object();

	if (!path || !files)
		return error_no_memory(error);
	if (send_files(work, delivery->uploads, files, error))
		return -1;
	delivery->uploaded = true;
	end_timings(work);
	body = result_body(work, files);
	return connection_call(work->slot->connection, "POST", path, body, 600, &answer, error);
}

/* The server has lost what it was sent, or will not have it within the result. */
static void begin_anew(struct work *work, struct delivery *delivery)
{
	const char *name;
	json_t *file;

	*delivery = (struct delivery){ .uploads = true };
	work->upload[0] = '\0';
	json_object_foreach (json_object_get(work->entry, "files"), name, file)
		json_object_del(file, "uploaded");
}

/* Whether the task itself is over for this site, so that there is nobody to tell. */
static bool is_closed(const struct rounds_error *error)
{
	return error->kind == ERROR_CONFLICT || error->kind == ERROR_NOT_FOUND ||
	       error->kind == ERROR_UNAUTHENTICATED || error->kind == ERROR_FORBIDDEN;
}

/* The same result would be refused again, and so would one that is trained anew. */
static void end_refused(struct work *work, const struct rounds_error *error)
{
	struct failure failure = { 0 };

	log_warn("the server refused the result", "task", work->id, "reason", error->message, "field",
		error->field[0] ? error->field : NULL, NULL);
	spool_remove(work->slot->site->spool, work->id);
	if (is_closed(error))
		return;
	failed_with(&failure, FAILURE_RESULT_REFUSED, false, error->message);
	deliver_failure(work, &failure);
}

bool deliver_result(struct work *work)
{
	struct site *site = work->slot->site;
	struct delivery delivery = { 0 };
	struct rounds_error error = { 0 };
	struct backoff backoff = { 0 };

	snprintf(work->upload, sizeof(work->upload), "%s", json_text_or(work->entry, "upload", ""));
	while (deliver_once(work, &delivery, &error)) {
		if (work->beat.called_off) {
			spool_remove(site->spool, work->id);
			return false;
		}
		if (error.kind == ERROR_BLOB_MISSING) {
			begin_anew(work, &delivery);
		} else if (!error_is_passing(&error) && error.kind != ERROR_CHECKSUM &&
			   !(error.kind == ERROR_CONFLICT && !delivery.uploaded)) {
			end_refused(work, &error);
			return false;
		}
		log_warn("the result is not delivered yet", "task", work->id, "reason", error.message, NULL);
		if (!backoff_wait(&backoff, site))
			return false; /* it stays in the spool */
	}
	spool_remove(site->spool, work->id);
	return true;
}

/* In the words of the protocol that the server speaks. */
static json_t *failure_body(const struct site *site, const struct failure *failure)
{
	char sentence[FAILURE_SENTENCE_SIZE + FAILURE_TEXT_SIZE];

	if (site_protocol(site) > 1)
		return failure_json(failure);
	failure_sentence(failure, sentence, sizeof(sentence));
	return json_pack("{s:o, s:b}", "reason", json_text(sentence), "retry", failure->retry);
}

/* Says it until the server has heard it; false if it refuses to. */
static bool tell(struct work *work, const struct failure *failure, struct rounds_error *error)
{
	scoped(text_free) char *path = work_call(work, "failure");
	json_auto_t *body = failure_body(work->slot->site, failure);
	struct backoff backoff = { 0 };

	while (path && body && connection_call(work->slot->connection, "POST", path, body, 30, NULL, error)) {
		if (!error_is_passing(error))
			return false;
		if (!backoff_wait(&backoff, work->slot->site))
			return true; /* the lease runs out */
	}
	return true;
}

void deliver_failure(struct work *work, const struct failure *failure)
{
	const struct failure bare = { .kind = FAILURE_INTERNAL, .retry = failure->retry };
	struct failure told = *failure;
	struct rounds_error error = { 0 };

	if (!shares_log(work->slot->site, json_text_or(work->task, "executor", "")))
		told.text[0] = '\0';
	log_warn("the task failed", "task", work->id, "kind", failure_name(told.kind), "ref", told.ref, NULL);
	if (tell(work, &told, &error))
		return;
	log_warn("the server did not take the failure", "task", work->id, "reason", error.message, NULL);
	/* Untold, the task would be handed out again at once: it is the words that are refused, so without them. */
	if (!is_closed(&error) && !tell(work, &bare, &error))
		log_warn("the server did not take the failure", "task", work->id, "reason", error.message, NULL);
}

void give_back(struct work *work)
{
	scoped(connection_free) struct connection *connection = NULL;
	scoped(text_free) char *path = work_call(work, "release");
	struct rounds_error error = { 0 };

	if (!path || site_connect(work->slot->site, NULL, STOP_MS, &connection, &error) ||
		connection_call(connection, "POST", path, NULL, 5, NULL, &error))
		log_warn("could not give the task back", "task", work->id, "reason", error.message, NULL);
	else
		log_info("gave the task back", "task", work->id, NULL);
}
