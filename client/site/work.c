/* One task: fetch its files, let the executor work, keep the result. */
#include "client/site/work.h"

#include "client/site/delivery.h"
#include "client/site/fetch.h"
#include "client/site/measures.h"
#include "client/site/words.h"
#include "client/transfer.h"
#include "common/artifact.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { FULL_BYTES = 64 * 1024 }; /* a disk with less than this has no space */

/* A part of the work is over: so many seconds of the timings, and the next one begins. */
static void time_part(struct work *work, const char *part)
{
	int64_t now = clock_steady_us();

	json_object_set_new(work->timings, part, json_real((double)(now - work->since) / (double)SECOND_US));
	work->since = now;
}

char *work_call(const struct work *work, const char *call)
{
	return text_new("/api/v1/tasks/%s/%s", work->id, call);
}

static bool watch(void *context, const json_t *progress)
{
	struct work *work = context;

	return beat_in_time(&work->beat, json_text_or(progress, "stage", "training"),
		json_number_or(progress, "fraction", 0), json_object_get(progress, "metrics"));
}

bool work_moved(void *context, uint64_t bytes)
{
	struct work *work = context;
	struct rounds_error error;

	/* As soon as the server has given the upload a name, it is written down: a restart then goes on with it. */
	if (work->entry && work->upload[0] && strcmp(json_text_or(work->entry, "upload", ""), work->upload) != 0) {
		json_object_set_new(work->entry, "upload", json_string(work->upload));
		if (spool_update(work->slot->site->spool, work->entry, &error))
			log_warn("cannot write down an upload", "reason", error.message, NULL);
	}
	return beat_in_time(&work->beat, work->entry ? "uploading" : "downloading",
		work->size > 0 ? (double)bytes / work->size : NAN, NULL);
}

static void end_executor(struct slot *slot)
{
	executor_free(slot->executor);
	slot->executor = NULL;
}

/* The one that is kept for this job, or a new one. */
static int get_executor(struct slot *slot, const json_t *task, struct failure *failure)
{
	const char *name = json_text_or(task, "executor", ""), *job = json_text_or(task, "job", "");
	const json_t *settings = json_object_get(json_object_get(slot->site->settings, "executors"), name);
	scoped(text_free) char *directory = text_new("%s/slot-%zu", slot->site->work_directory, slot->number);
	struct rounds_error error = { 0 };

	if (slot->executor && !strcmp(slot->executor_job, job) && !strcmp(slot->executor_name, name))
		return 0;
	end_executor(slot);
	if (!settings)
		return failed_with(failure, FAILURE_EXECUTOR, true, "this site has no executor of that name");
	if (!directory)
		return failed_with(failure, FAILURE_NO_MEMORY, true, "no memory for a path");
	directory_remove(directory);
	if (directory_make(directory, 0700, &error))
		return failed_by(failure, FAILURE_INTERNAL, true, &error);
	snprintf(slot->executor_job, sizeof(slot->executor_job), "%s", job);
	snprintf(slot->executor_name, sizeof(slot->executor_name), "%s", name);
	return executor_start(settings, directory, &slot->executor, &error)
		       ? failed_by(failure, FAILURE_EXECUTOR, true, &error)
		       : 0;
}

/* What the executor is handed, beside what the server said: paths on this machine. */
struct paths {
	json_t *files; /* {name: path} of what the task is given */
	char *own, *scratch, *output;
};

static void paths_free(struct paths paths)
{
	json_decref(paths.files);
	free(paths.own);
	free(paths.scratch);
	free(paths.output);
}
DEFINE_CLEANUP(struct paths, paths_free);

/* What of an order the executor is told as it came, and as what. */
static const struct {
	const char *told, *member;
} passed_on[] = {
	{ "id", "id" },
	{ "job", "job" },
	{ "job_name", "job_name" },
	{ "round", "round" },
	{ "rounds", "rounds" },
	{ "kind", "kind" },
	{ "seed", "seed" },
	{ "params", "trainer" },
	{ "algorithm", "algorithm" },
	{ "share", "share" },
};

static json_t *task_document(const struct work *work, const struct paths *paths)
{
	const json_t *task = work->task, *settings = work->slot->site->settings;
	const json_t *dataset = json_object_get(
		json_object_get(settings, "datasets"), json_text_or(task, "dataset", ""));
	json_t *document = json_pack("{s:s, s:O*, s:s, s:O, s:O, s:O?, s:O?, s:s, s:s, s:s}", "type", "task",
		"traceparent", json_object_get(task, "traceparent"), "site", work->slot->site->name, "dataset",
		dataset, "files", paths->files, "model", json_object_get(paths->files, "model"), "control",
		json_object_get(paths->files, "control"), "own", paths->own, "scratch", paths->scratch, "output",
		paths->output);

	for (size_t i = 0; document && i < ARRAY_SIZE(passed_on); i++) {
		json_t *value = json_object_get(task, passed_on[i].member);

		json_object_set_new(document, passed_on[i].told, value ? json_incref(value) : json_null());
	}
	return document;
}

/* A number of samples: none is fine, less than none is not. */
static int check_weight(const json_t *result, struct failure *failure)
{
	const json_t *weight = json_object_get(result, "weight");

	if (!weight || (json_is_number(weight) && json_number_value(weight) >= 0))
		return 0;
	return failed_with(failure, FAILURE_WEIGHT, false, "the result's \"weight\" must be a number, 0 or more");
}

/* The file's name, digest and size, and where it lies for the spool. */
static int take_file(const char *name, const char *path, json_t *files, json_t *paths, struct failure *failure)
{
	scoped(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[DIGEST_TEXT_SIZE];
	struct artifact file = { .name = name, .digest = text };
	struct rounds_error error = { 0 };
	struct digest digest;
	struct stat status;

	if (fd < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode))
		return failed_with(failure, FAILURE_NO_UPDATE, true, "the executor gave a result but wrote no file");
	if (digest_file(fd, (uint64_t)status.st_size, &digest, &error))
		return failed_by(failure, FAILURE_INTERNAL, true, &error);
	digest_format(&digest, text);
	file.size = (int64_t)status.st_size;
	return artifact_put(files, &file) || json_object_set_new(paths, name, json_text(path))
		       ? failed_with(failure, FAILURE_NO_MEMORY, true, "no memory for the result")
		       : 0;
}

/* The files that the executor says it left in its scratch directory; else the update, where such a task makes one. */
static int take_files(const struct work *work, const json_t *result, const struct paths *at, json_t *files,
	json_t *paths, struct failure *failure)
{
	const json_t *names = json_object_get(result, "files");
	size_t i;
	json_t *item;

	if (!names)
		return !strcmp(json_text_or(work->task, "kind", ""), "evaluate")
			       ? 0
			       : take_file("update", at->output, files, paths, failure);
	if (!json_is_array(names) || json_array_size(names) > ARTIFACTS_MOST)
		return failed_with(failure, FAILURE_OUTPUT, false, "the result's \"files\" must be a list of names");
	json_array_foreach (names, i, item) {
		const char *name = json_string_value(item);
		scoped(text_free) char *path = NULL;

		if (!name || !artifact_name_is_valid(name))
			return failed_with(failure, FAILURE_OUTPUT, false,
				"the result's \"files\" has a name that is not 1 to 63 of a-z, 0-9, _, . and -");
		if (!(path = text_new("%s/%s", at->scratch, name)))
			return failed_with(failure, FAILURE_NO_MEMORY, true, "no memory for a path");
		if (!json_object_get(files, name) && take_file(name, path, files, paths, failure))
			return -1;
	}
	return 0;
}

/* Of the columns that the job itself names, and of no others, those that the program says the table has not. */
static json_t *lacks_fit(const json_t *lacks, const json_t *params)
{
	static const char *const members[] = { "ignore", "categories" };
	json_t *fit = json_is_object(lacks) ? json_object() : NULL;

	for (size_t m = 0; fit && m < ARRAY_SIZE(members); m++) {
		const json_t *named = json_object_get(params, members[m]);
		json_t *names = json_array(), *name;
		size_t i;

		json_array_foreach (json_object_get(lacks, members[m]), i, name)
			if (json_is_string(name) && (json_lists(named, json_string_value(name)) ||
							    json_object_get(named, json_string_value(name))))
				json_array_append(names, name);
		json_object_set_new(fit, members[m], names);
	}
	return fit;
}

/* The result becomes a spool entry: what comes now survives a restart. */
static int keep_result(struct work *work, const json_t *result, const struct paths *at, struct failure *failure)
{
	json_auto_t *metrics = NULL, *lacks = NULL, *files = json_object(), *paths = json_object();
	struct rounds_error error = { 0 };

	if (check_weight(result, failure) || take_files(work, result, at, files, paths, failure))
		return -1;
	time_part(work, "train");
	metrics = measures_fit(json_object_get(result, "metrics"), work->id, &work->beat.said);
	lacks = lacks_fit(json_object_get(result, "lacks"), json_object_get(work->task, "trainer"));
	work->entry = json_pack("{s:s, s:O, s:O, s:O*, s:O*, s:O*, s:O, s:s}", "task", work->id, "kind",
		json_object_get(work->task, "kind"), "files", files, "weight", json_object_get(result, "weight"),
		"metrics", metrics, "lacks", lacks, "timings", work->timings, "upload", "");
	if (!work->entry)
		return failed_with(failure, FAILURE_NO_MEMORY, true, "no memory for the result");
	return spool_put(work->slot->site->spool, work->entry, paths, &error)
		       ? failed_by(failure, FAILURE_INTERNAL, true, &error)
		       : 0;
}

static int make_paths(struct work *work, struct paths *paths, struct failure *failure)
{
	struct slot *slot = work->slot;
	struct rounds_error error = { 0 };

	paths->scratch = text_new("%s/slot-%zu/%s", slot->site->work_directory, slot->number, work->id);
	paths->own = text_new("%s/%s", slot->site->own_directory, json_text_or(work->task, "job", ""));
	paths->output = paths->scratch ? text_new("%s/update.safetensors", paths->scratch) : NULL;
	if (!paths->output || !paths->own)
		return failed_with(failure, FAILURE_NO_MEMORY, true, "no memory for paths");
	return directory_make(paths->scratch, 0700, &error) || directory_make(paths->own, 0700, &error)
		       ? failed_by(failure, FAILURE_INTERNAL, true, &error)
		       : 0;
}

/* A program without space fails in many ways; which one it was is not what its administrator needs to know. */
static void see_full_disk(const char *directory, struct failure *failure)
{
	struct statvfs disk;

	if (statvfs(directory, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < FULL_BYTES) {
		log_warn("the disk is full", "ref", failure->ref, NULL);
		failure->kind = FAILURE_NO_SPACE;
		failure->retry = true;
	}
}

static int run_executor(struct work *work, struct paths *paths, struct failure *failure)
{
	struct slot *slot = work->slot;
	const json_t *settings = slot->site->settings;
	json_auto_t *document = NULL, *result = NULL;
	struct executor_turn turn = { .watch = watch, .context = work };
	int failed;

	if (get_executor(slot, work->task, failure))
		return -1;
	if (!json_object_get(json_object_get(settings, "datasets"), json_text_or(work->task, "dataset", "")))
		return failed_with(failure, FAILURE_DATASET, false, "this site has no dataset of that name");
	if (make_paths(work, paths, failure))
		return -1;
	turn.timeout_us = json_integer_or(work->task, "timeout_seconds", 0) * SECOND_US;
	turn.task = document = task_document(work, paths);
	failed = document ? executor_run(slot->executor, &turn, &result, failure)
			  : failed_with(failure, FAILURE_NO_MEMORY, true, "no memory for the task");
	if (beat_has_log(&work->beat) && !site_stopping(slot->site) && !work->beat.called_off)
		beat_now(&work->beat, "received", 1, NULL);
	if (!failed)
		failed = keep_result(work, result, paths, failure);
	if (failed || !json_bool_or(json_object_get(json_object_get(settings, "executors"), slot->executor_name),
			      "keep", true))
		end_executor(slot);
	if (failed)
		see_full_disk(paths->scratch, failure);
	directory_remove(paths->scratch);
	return failed;
}

static int train(struct work *work, struct failure *failure)
{
	scoped(paths_free) struct paths paths = { .files = json_object() };

	if (fetch_files(work, paths.files, failure))
		return -1;
	time_part(work, "download");
	return run_executor(work, &paths, failure);
}

/* What the site's administrator may want to know of it: whose work it is, with what, on which data. */
static void log_begin(const struct work *work)
{
	const json_t *task = work->task;
	char round[24], bytes[24];
	struct artifact model;
	bool has_model = artifact_find(json_object_get(task, "files"), "model", &model);

	snprintf(round, sizeof(round), "%lld", (long long)json_integer_or(task, "round", 0));
	snprintf(bytes, sizeof(bytes), "%lld", (long long)model.size);
	log_info("task begins", "task", work->id, "kind", json_text_or(task, "kind", ""), "job",
		json_text_or(task, "job_name", ""), "round", round, "dataset", json_text_or(task, "dataset", NULL),
		"executor", json_text_or(task, "executor", NULL), "submitted_by",
		json_text_or(task, "submitted_by", NULL), "model", model.digest, "bytes", has_model ? bytes : NULL,
		NULL);
}

static void log_end(const struct work *work)
{
	const char *update = artifact_digest(json_object_get(work->entry, "files"), "update");
	char bytes[24];

	snprintf(bytes, sizeof(bytes), "%lld", (long long)json_integer_or(work->timings, "uploaded", 0));
	log_info("result delivered", "task", work->id, "update", update, "bytes",
		json_object_size(json_object_get(work->entry, "files")) > 0 ? bytes : NULL, NULL);
}

/* One that has just ended badly here and is back begins the later the more often it is. */
static bool wait_for_turn(struct work *work)
{
	struct slot *slot = work->slot;

	if (strcmp(slot->failed_task, work->id) != 0) {
		slot->failed_task[0] = '\0';
		slot->again = (struct backoff){ 0 };
		return true;
	}
	return backoff_wait(&slot->again, slot->site);
}

static bool make_result(struct work *work)
{
	struct slot *slot = work->slot;
	struct failure failure = { 0 };

	log_begin(work);
	if (wait_for_turn(work) && !train(work, &failure))
		return true;
	if (site_stopping(slot->site)) {
		end_executor(slot);
		give_back(work);
	} else if (!work->beat.called_off) {
		snprintf(slot->failed_task, sizeof(slot->failed_task), "%s", work->id);
		deliver_failure(work, &failure);
	}
	return false;
}

void work_do(struct slot *slot, const json_t *order)
{
	struct work work = {
		.slot = slot, .task = order, .id = json_text_or(order, "id", json_text_or(order, "task", ""))
	};

	beat_begin(&work.beat, slot, work.id, json_integer_or(order, "lease_seconds", 60));
	work.since = clock_steady_us();
	work.entry = spool_find(slot->site->spool, work.id);
	work.timings = work.entry ? json_incref(json_object_get(work.entry, "timings")) : json_object();
	if (!work.timings)
		work.timings = json_object();
	if (work.entry || make_result(&work)) {
		if (deliver_result(&work))
			log_end(&work);
		else
			snprintf(slot->failed_task, sizeof(slot->failed_task), "%s", work.id);
	}
	json_decref(work.timings);
	json_decref(work.entry);
}
