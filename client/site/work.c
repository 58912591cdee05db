/* One task: fetch the model, let the executor work, keep the result, deliver it. */
#include "client/site/site.h"

#include "client/site/cache.h"
#include "client/transfer.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <fcntl.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_UPDATE = 12 * 1024 };

struct work {
	struct slot *slot;
	const json_t *task;
	const char *id;
	json_t *entry; /* of the spool, once there is a result */
	int64_t beat_us, next_beat;
	bool called_off;
	bool uploads;    /* the server has not taken a small update with its result */
	double size;     /* bytes of the transfer under way */
	json_t *timings; /* what the time went into, for the result */
	int64_t since;   /* when the part that is under way began */
	char upload[UPLOAD_PATH_SIZE];
};

/* A part of the work is over: so many seconds of the timings, and the next one begins. */
static void time_part(struct work *work, const char *part)
{
	int64_t now = clock_steady_us();

	json_object_set_new(work->timings, part, json_real((double)(now - work->since) / (double)SECOND_US));
	work->since = now;
}

static void count_bytes(struct work *work, const char *name, const char *path)
{
	struct stat status;

	if (stat(path, &status) == 0)
		json_object_set_new(
			work->timings, name, json_integer(json_integer_or(work->timings, name, 0) + status.st_size));
}

static char *call_path(const struct work *work, const char *call)
{
	return text_new("/api/v1/tasks/%s/%s", work->id, call);
}

/* Whether the executor has said something that the site's administrator lets the server know. */
static bool has_log(const struct work *work)
{
	const struct slot *slot = work->slot;
	const json_t *executors = json_object_get(slot->site->settings, "executors");

	return slot->executor && executor_has_log(slot->executor) &&
	       json_bool_or(json_object_get(executors, slot->executor_name), "share_log", false);
}

/* On a connection of its own, since the other may be in the middle of a transfer. */
static void beat(struct work *work, const char *stage, double fraction, const json_t *metrics)
{
	scoped(text_free) char *path = call_path(work, "heartbeat");
	json_auto_t *body = json_pack("{s:s, s:o, s:O*, s:o*}", "stage", stage, "fraction",
		json_number_or_null(fraction), "metrics", metrics, "log",
		has_log(work) ? executor_take_log(work->slot->executor) : NULL);
	struct rounds_error error = { 0 };

	work->next_beat = clock_steady_us() + work->beat_us;
	if (!path || !connection_call(work->slot->beats, "POST", path, body, 10, NULL, &error))
		return;
	if (!error_is_passing(&error)) {
		work->called_off = true;
		log_info("the task was called off", "task", work->id, "reason", error.message, NULL);
	} else {
		log_warn("no heartbeat went through", "task", work->id, "reason", error.message, NULL);
	}
}

/* While the executor works or bytes move: a heartbeat now and then, so that the lease follows the progress. */
static bool beat_in_time(struct work *work, const char *stage, double fraction, const json_t *metrics)
{
	if (site_stopping(work->slot->site))
		return false;
	if (clock_steady_us() >= work->next_beat)
		beat(work, stage, fraction, metrics);
	return !work->called_off;
}

static bool watch(void *context, const json_t *progress)
{
	return beat_in_time(context, json_text_or(progress, "stage", "training"),
		json_number_or(progress, "fraction", 0), json_object_get(progress, "metrics"));
}

static bool transfer_moved(void *context, uint64_t bytes)
{
	struct work *work = context;
	struct rounds_error error;

	/* As soon as the server has given the upload a name, it is written down: a restart then goes on with it. */
	if (work->entry && work->upload[0] && strcmp(json_text_or(work->entry, "upload", ""), work->upload) != 0) {
		json_object_set_new(work->entry, "upload", json_string(work->upload));
		if (spool_update(work->slot->site->spool, work->entry, &error))
			log_warn("cannot write down an upload", "reason", error.message, NULL);
	}
	return beat_in_time(work, work->entry ? "uploading" : "downloading",
		work->size > 0 ? (double)bytes / work->size : NAN, NULL);
}

/* A small model came with its task: checked by its digest, it goes where a fetched one would. */
static bool take_small_model(const struct work *work, const char *path, const struct digest *digest)
{
	const char *text = json_text_or(work->task, "model_data", "");
	size_t length = strlen(text);
	scoped(free) void *bytes = length > 0 ? malloc(length) : NULL;
	struct rounds_error error;
	struct digest actual;
	int size;

	if (!bytes || length % 4)
		return false;
	size = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length);
	size -= (text[length - 1] == '=') + (text[length - 2] == '=');
	if (size < 0)
		return false;
	digest_of(bytes, (size_t)size, &actual);
	return digest_equal(&actual, digest) && !file_put(path, bytes, (size_t)size, 0600, &error);
}

/* Until it is there or will never be. `name` is the task's member with the digest, "model" or "control". */
static int fetch(struct work *work, const char *name, char **path, struct rounds_error *error)
{
	struct site *site = work->slot->site;
	const char *model = json_text_or(work->task, name, NULL);
	struct transfer_options options = { .moved = transfer_moved, .context = work };
	struct backoff backoff = { 0 };
	struct digest digest;

	if (!model)
		return 0;
	if (!digest_parse(model, &digest))
		return error_set(error, ERROR_INTERNAL, "the server named a %s that is no digest", name);
	*path = cache_path(site->cache_directory, &digest);
	if (!*path)
		return error_no_memory(error);
	if (utimensat(AT_FDCWD, *path, NULL, 0) == 0)
		return 0; /* there, and used just now */
	if (!strcmp(name, "model") && take_small_model(work, *path, &digest)) {
		count_bytes(work, "downloaded", *path);
		return 0;
	}
	cache_trim(site->cache_directory, (uint64_t)json_integer_or(site->settings, "cache_mb", 20000) << 20);
	work->size = json_number_or(work->task, "model_size", 0);
	while (transfer_download(work->slot->connection, &digest, *path, &options, error)) {
		if (work->called_off)
			return error_set(error, ERROR_CONFLICT, "the task was called off");
		if (error->kind == ERROR_NO_SPACE || !error_is_passing(error) || !backoff_wait(&backoff, site))
			return error_prefix(error, "cannot fetch the %s", name);
		log_warn("the download goes on", "task", work->id, "reason", error->message, NULL);
		beat(work, "downloading", NAN, NULL);
	}
	count_bytes(work, "downloaded", *path);
	return 0;
}

static int get_executor(struct slot *slot, const json_t *task, struct rounds_error *error)
{
	const char *name = json_text_or(task, "executor", ""), *job = json_text_or(task, "job", "");
	const json_t *settings = json_object_get(json_object_get(slot->site->settings, "executors"), name);
	scoped(text_free) char *directory = text_new("%s/slot-%zu", slot->site->work_directory, slot->number);

	if (slot->executor && !strcmp(slot->executor_job, job) && !strcmp(slot->executor_name, name))
		return 0;
	executor_free(slot->executor);
	slot->executor = NULL;
	if (!settings)
		return error_set(error, ERROR_INVALID, "this site has no executor \"%.63s\"", name);
	if (!directory)
		return error_no_memory(error);
	directory_remove(directory);
	if (directory_make(directory, 0700, error))
		return -1;
	snprintf(slot->executor_job, sizeof(slot->executor_job), "%s", job);
	snprintf(slot->executor_name, sizeof(slot->executor_name), "%s", name);
	return executor_start(settings, directory, &slot->executor, error);
}

/* What the executor is handed, beside what the server said: paths on this machine. */
struct paths {
	char *model, *control, *own, *scratch, *output;
};

static void paths_free(struct paths paths)
{
	free(paths.model);
	free(paths.control);
	free(paths.own);
	free(paths.scratch);
	free(paths.output);
}
DEFINE_CLEANUP(struct paths, paths_free);

static json_t *task_document(const struct work *work, const struct paths *paths)
{
	const json_t *task = work->task, *settings = work->slot->site->settings;
	const json_t *dataset = json_object_get(
		json_object_get(settings, "datasets"), json_text_or(task, "dataset", ""));

	return json_pack(
		"{s:s, s:i, s:O*, s:O, s:O, s:O, s:O, s:O, s:O, s:s, s:O, s:O, s:O, s:s?, s:s?, s:O?, s:O?, s:s, s:s, s:s}",
		"type", "task", "protocol", EXECUTOR_PROTOCOL, "traceparent", json_object_get(task, "traceparent"),
		"id", json_object_get(task, "id"), "job", json_object_get(task, "job"), "job_name",
		json_object_get(task, "job_name"), "round", json_object_get(task, "round"), "rounds",
		json_object_get(task, "rounds"), "kind", json_object_get(task, "kind"), "site",
		work->slot->site->name, "seed", json_object_get(task, "seed"), "params",
		json_object_get(task, "trainer"), "dataset", dataset, "model", paths->model, "control",
		paths->control, "algorithm", json_object_get(task, "algorithm"), "share",
		json_object_get(task, "share"), "own", paths->own, "scratch", paths->scratch, "output",
		paths->output);
}

/* The result becomes a spool entry: what comes now survives a restart. */
static int keep_result(struct work *work, const json_t *result, const char *output, struct rounds_error *error)
{
	bool has_update = strcmp(json_text_or(work->task, "kind", ""), "evaluate") != 0;
	scoped(file_close) int fd = has_update ? open(output, O_RDONLY | O_CLOEXEC) : -1;
	json_auto_t *entry = NULL;
	char text[DIGEST_TEXT_SIZE];
	struct digest digest;
	struct stat status;

	if (has_update) {
		if (fd < 0 || fstat(fd, &status))
			return error_set(
				error, ERROR_INVALID, "the executor gave a result but wrote no file %s", output);
		if (digest_file(fd, (uint64_t)status.st_size, &digest, error))
			return -1;
		digest_format(&digest, text);
	}
	time_part(work, "train");
	entry = json_pack("{s:s, s:O, s:s?, s:O*, s:O*, s:O, s:s}", "task", work->id, "kind",
		json_object_get(work->task, "kind"), "update", has_update ? text : NULL, "weight",
		json_object_get(result, "weight"), "metrics", json_object_get(result, "metrics"), "timings",
		work->timings, "upload", "");
	if (!entry)
		return error_no_memory(error);
	if (spool_put(work->slot->site->spool, entry, has_update ? output : NULL, error))
		return -1;
	work->entry = json_incref(entry);
	return 0;
}

static int make_paths(struct work *work, struct paths *paths, struct rounds_error *error)
{
	struct slot *slot = work->slot;

	paths->scratch = text_new("%s/slot-%zu/%s", slot->site->work_directory, slot->number, work->id);
	paths->own = text_new("%s/%s", slot->site->own_directory, json_text_or(work->task, "job", ""));
	paths->output = paths->scratch ? text_new("%s/update.safetensors", paths->scratch) : NULL;
	if (!paths->output || !paths->own)
		return error_no_memory(error);
	return directory_make(paths->scratch, 0700, error) || directory_make(paths->own, 0700, error) ? -1 : 0;
}

static int run_executor(struct work *work, struct paths *paths, bool *retry, struct rounds_error *error)
{
	struct slot *slot = work->slot;
	const json_t *settings = slot->site->settings;
	json_auto_t *document = NULL, *result = NULL;
	int64_t timeout = json_integer_or(work->task, "timeout_seconds", 0) * SECOND_US;
	int failed;

	if (get_executor(slot, work->task, error))
		return -1;
	if (!json_object_get(json_object_get(settings, "datasets"), json_text_or(work->task, "dataset", ""))) {
		*retry = false;
		return error_set(error, ERROR_INVALID, "this site has no dataset \"%.63s\"",
			json_text_or(work->task, "dataset", ""));
	}
	if (make_paths(work, paths, error))
		return -1;
	document = task_document(work, paths);
	failed = document ? executor_run(slot->executor, document, timeout, watch, work, &result, retry, error)
			  : error_no_memory(error);
	if (has_log(work) && !site_stopping(slot->site) && !work->called_off)
		beat(work, "received", 1, NULL);
	if (!failed)
		failed = keep_result(work, result, paths->output, error);
	if (failed || !json_bool_or(json_object_get(json_object_get(settings, "executors"), slot->executor_name),
			      "keep", true)) {
		executor_free(slot->executor);
		slot->executor = NULL;
	}
	directory_remove(paths->scratch);
	return failed;
}

static int train(struct work *work, bool *retry, struct rounds_error *error)
{
	scoped(paths_free) struct paths paths = { 0 };

	*retry = true;
	if (fetch(work, "control", &paths.control, error) || fetch(work, "model", &paths.model, error))
		return -1;
	time_part(work, "download");
	return run_executor(work, &paths, retry, error);
}

/* Says it until the server has heard it. */
static void report_failure(struct work *work, const char *reason, bool retry)
{
	scoped(text_free) char *path = call_path(work, "failure");
	json_auto_t *body = json_pack("{s:s, s:b}", "reason", reason, "retry", retry);
	struct rounds_error error = { 0 };
	struct backoff backoff = { 0 };

	log_warn("the task failed", "task", work->id, "reason", reason, NULL);
	while (path && connection_call(work->slot->connection, "POST", path, body, 30, NULL, &error)) {
		if (error_is_passing(&error) && backoff_wait(&backoff, work->slot->site))
			continue;
		log_warn("the server did not take the failure", "task", work->id, "reason", error.message, NULL);
		return;
	}
}

/* The daemon stops: another may have the task. */
static void give_back(struct work *work)
{
	scoped(connection_free) struct connection *connection = NULL;
	scoped(text_free) char *path = call_path(work, "release");
	struct rounds_error error = { 0 };

	if (!path || site_connect(work->slot->site, NULL, &connection, &error) ||
		connection_call(connection, "POST", path, NULL, 5, NULL, &error))
		log_warn("could not give the task back", "task", work->id, "reason", error.message, NULL);
	else
		log_info("gave the task back", "task", work->id, NULL);
}

/* A small update goes into the result itself: text in base64, or null. */
static json_t *small_update(const struct work *work, const char *path, size_t size)
{
	unsigned char text[4 * (SMALL_UPDATE / 3 + 1) + 1];
	char *bytes = NULL;
	struct rounds_error error;

	if (work->uploads || size == 0 || size > SMALL_UPDATE || file_read(path, SMALL_UPDATE, &bytes, &size, &error))
		return NULL;
	EVP_EncodeBlock(text, (const unsigned char *)bytes, (int)size);
	free(bytes);
	return json_string((const char *)text);
}

/* What is left to say just before the result goes. After a restart only what the spool has kept is known. */
static void end_timings(struct work *work, const struct stat *update)
{
	double round_trip = connection_round_trip(work->slot->connection);

	if (update)
		json_object_set_new(work->timings, "uploaded", json_integer(update->st_size));
	json_object_set_new(
		work->timings, "upload", json_real((double)(clock_steady_us() - work->since) / (double)SECOND_US));
	if (round_trip > 0)
		json_object_set_new(work->timings, "round_trip", json_real(round_trip));
}

/* One try to deliver; passing errors may be tried again. */
static int deliver_once(struct work *work, bool *uploaded, struct rounds_error *error)
{
	struct slot *slot = work->slot;
	const char *update = json_text_or(work->entry, "update", NULL);
	scoped(text_free) char *file = spool_update_path(slot->site->spool, work->id);
	scoped(text_free) char *path = call_path(work, "result");
	json_auto_t *body = NULL, *answer = NULL, *small = NULL;
	struct transfer_options options = { .moved = transfer_moved, .context = work };
	struct digest digest;
	struct stat status;

	if (!file || !path)
		return error_no_memory(error);
	if (update && (!digest_parse(update, &digest) || stat(file, &status)))
		return error_set(error, ERROR_INVALID, "the kept result is incomplete");
	if (update)
		small = small_update(work, file, (size_t)status.st_size);
	if (update && !small && !*uploaded) {
		work->size = (double)status.st_size;
		if (transfer_upload(slot->connection, file, &digest, work->upload, &options, error)) {
			transfer_moved(work, 0); /* the upload may have been forgotten */
			return -1;
		}
	}
	*uploaded = true; /* nothing is left to upload: what is refused from here on is the result */
	end_timings(work, update ? &status : NULL);
	body = json_pack("{s:O*, s:O*, s:O*, s:O*, s:O}", "update_data", small, "update",
		update ? json_object_get(work->entry, "update") : NULL, "weight",
		json_object_get(work->entry, "weight"), "metrics", json_object_get(work->entry, "metrics"), "timings",
		work->timings);
	return connection_call(slot->connection, "POST", path, body, 600, &answer, error);
}

static void deliver(struct work *work)
{
	struct site *site = work->slot->site;
	struct rounds_error error = { 0 };
	struct backoff backoff = { 0 };
	bool uploaded = false;

	snprintf(work->upload, sizeof(work->upload), "%s", json_text_or(work->entry, "upload", ""));
	while (deliver_once(work, &uploaded, &error)) {
		if (work->called_off) {
			spool_remove(site->spool, work->id);
			return;
		}
		if (error.kind == ERROR_BLOB_MISSING) {
			uploaded = false;
			work->uploads = true;
			work->upload[0] = '\0';
		} else if (!error_is_passing(&error) && error.kind != ERROR_CHECKSUM &&
			   !(error.kind == ERROR_CONFLICT && !uploaded)) {
			log_warn("the server refused the result", "task", work->id, "reason", error.message, "field",
				error.field[0] ? error.field : NULL, NULL);
			spool_remove(site->spool, work->id);
			return;
		}
		log_warn("the result is not delivered yet", "task", work->id, "reason", error.message, NULL);
		if (!backoff_wait(&backoff, site))
			return; /* it stays in the spool */
	}
	spool_remove(site->spool, work->id);
	log_info("result delivered", "task", work->id, NULL);
}

void work_do(struct slot *slot, const json_t *order)
{
	struct work work = {
		.slot = slot, .task = order, .id = json_text_or(order, "id", json_text_or(order, "task", ""))
	};
	struct rounds_error error = { 0 };
	char round[24];
	bool retry;

	work.beat_us = json_integer_or(order, "lease_seconds", 60) * SECOND_US / 3;
	work.next_beat = clock_steady_us() +
			 (work.beat_us < SECOND_US ? work.beat_us : SECOND_US); /* the first one soon */
	work.since = clock_steady_us();
	work.entry = spool_find(slot->site->spool, work.id);
	work.timings = work.entry ? json_incref(json_object_get(work.entry, "timings")) : json_object();
	if (!work.timings)
		work.timings = json_object();
	if (!work.entry) {
		snprintf(round, sizeof(round), "%lld", (long long)json_integer_or(order, "round", 0));
		log_info("task begins", "task", work.id, "kind", json_text_or(order, "kind", ""), "job",
			json_text_or(order, "job_name", ""), "round", round, NULL);
		if (train(&work, &retry, &error)) {
			if (site_stopping(slot->site))
				give_back(&work);
			else if (!work.called_off)
				report_failure(&work, error.message, retry);
			json_decref(work.timings);
			return;
		}
	}
	deliver(&work);
	json_decref(work.timings);
	json_decref(work.entry);
}
