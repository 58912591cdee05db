/*
 * A workflow that nobody has written yet: two sites mask what they have and share the keys, one of them puts three files of both
 * together and brings two. It is here alone - no column, no word of the protocol, no other file knows of it - and its files go
 * from issue to access to result to event as every workflow's do.
 */
#include "../test.h"

#include "common/artifact.h"
#include "common/json.h"
#include "server/engine/internal.h"
#include "server/store/blob_index.h"
#include "server/store/db.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/tasks.h"

#include <openssl/evp.h>

static const struct field params[] = { { NULL } };

static int64_t one_round(const json_t *given)
{
	return 1;
}

static void start(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	struct sites sites = sites_of(job);

	plan_round(plan, 1, NULL);
	json_object_set_new(state, "files", json_object());
	for (size_t i = 0; i < sites.count; i++)
		plan_task(plan, "mask", sites.names[i], 1, NULL);
}

/* {"masked.a", "masked.b", "share.b"} once both have answered. */
static void combine(json_t *files, struct plan *plan)
{
	if (json_object_size(files) < 4)
		return;
	json_object_del(files, "share.a");
	plan_task_with(plan, &(const struct task_plan){ .kind = "combine", .site = "a", .round = 1, .files = files });
}

static void take(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	json_t *files = json_object_get(state, "files"), *entry;
	const char *name;
	char full[80];

	json_object_foreach ((json_t *)(uintptr_t)event->files, name, entry) {
		snprintf(full, sizeof(full), "%s.%s", name, event->site);
		json_object_set(files, full, json_object_get(entry, "digest"));
		plan_note(plan, 1, "%s of %lld bytes", full, (long long)json_integer_or(entry, "size", -1));
	}
	if (!strcmp(event->task, "mask"))
		combine(files, plan);
	else
		plan_complete(plan);
}

static void lose(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan)
{
	plan_fail(plan, "%s: %s", event->site, event->reason);
}

static const struct output outputs[] = {
	{ "mask", "masked", UPDATES_SEALED },
	{ "mask", "share", UPDATES_SEALED },
	{ "combine", "sum", UPDATES_SEALED },
	{ "combine", "proof", UPDATES_SEALED },
	{ NULL },
};

static const struct workflow masked = {
	.name = "masked",
	.summary = "Made up",
	.params = params,
	.rounds = one_round,
	.outputs = outputs,
	.steps = { [EVENT_STARTED] = start, [EVENT_RESULT] = take, [EVENT_TASK_FAILED] = lose },
};

/* In the place of server/workflows/workflows.c. */
const struct workflow *const workflows[] = { &masked, NULL };

const struct workflow *workflow_find(const char *name)
{
	return !strcmp(name, masked.name) ? &masked : NULL;
}

static void wake(void *context, const char *key) {}

static int admit(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct new_site a = { .name = "a", .serial = "01", .expires_us = INT64_MAX },
			      b = { .name = "b", .serial = "02", .expires_us = INT64_MAX };

	return site_admit(tx, &a, error) || site_admit(tx, &b, error) ? -1 : 0;
}

static int begin_jobs(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return schedule(argument, tx, error);
}

static json_t *claim(struct engine *engine, const char *site)
{
	json_auto_t *facts = json_pack("{s:i, s:i, s:[s], s:[s], s:[]}", "protocol", 2, "slots", 4, "datasets",
		"none", "executors", "trainer", "holding");
	struct claim claim = { .site = site, .facts = facts };
	struct rounds_error error;
	json_t *task;

	assert_int_equal(engine_claim_begin(engine, &claim, &error), 0);
	assert_int_equal(engine_claim(engine, &claim, &task, &error), 0);
	return task;
}

/* An engine whose threads do not run, two sites that are there, a job that has begun. */
static struct engine *begin(void **state, json_t **job)
{
	struct engine_options options = { .world = world_real(), .wake = wake, .uploads = { 1000, 10000, 100 } };
	json_auto_t *spec = json_pack("{s:s, s:s, s:s, s:[s, s]}", "name", "x", "workflow", "masked", "dataset",
			    "none", "sites", "a", "b"),
		    *faults = json_array();
	const struct submission submission = { .spec = spec, .caller = "ann" };
	struct engine *engine;
	struct rounds_error error;

	assert_int_equal(store_open(in(state, "db"), world_real(), &options.store, &error), 0);
	assert_int_equal(blobs_open(*state, &options.blobs, &error), 0);
	assert_int_equal(engine_open(&options, &engine, &error), 0);
	assert_int_equal(store_write(options.store, admit, NULL, &error), 0);
	assert_null(claim(engine, "a"));
	assert_null(claim(engine, "b"));
	assert_int_equal(engine_submit(engine, &submission, job, faults, &error), 0);
	assert_int_equal(store_write(options.store, begin_jobs, engine, &error), 0);
	return engine;
}

static void end(struct engine *engine, json_t *job)
{
	struct engine_options options = engine->options;

	json_decref(job);
	engine_close(engine);
	store_close(options.store);
	blobs_close(options.blobs);
}

static void digest_text(const char *text, char digest[DIGEST_TEXT_SIZE])
{
	struct digest value;

	digest_of(text, strlen(text), &value);
	digest_format(&value, digest);
}

/* A file of a result, with its bytes. */
static json_t *file_of(const char *text)
{
	char digest[DIGEST_TEXT_SIZE], encoded[200];

	digest_text(text, digest);
	EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)text, (int)strlen(text));
	return json_pack("{s:s, s:i, s:s}", "digest", digest, "size", (int)strlen(text), "data", encoded);
}

static int deliver(
	struct engine *engine, const char *site, const json_t *task, json_t *files, struct rounds_error *error)
{
	json_auto_t *body = json_pack("{s:o, s:i}", "files", files, "weight", 1), *answer = NULL;
	int failed = engine_result(engine, site, json_text_or(task, "id", ""), body, &answer, error);

	if (!failed) {
		assert_int_equal(json_object_size(json_object_get(answer, "files")), 2);
		assert_null(json_object_get(answer, "update"));
	}
	return failed;
}

struct reading {
	const char *site, *text;
	bool may;
};

static int read_in(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct reading *reading = argument;
	char digest[DIGEST_TEXT_SIZE];

	digest_text(reading->text, digest);
	return site_may_read(tx, reading->site, digest, &reading->may, error);
}

static bool may_read(struct engine *engine, const char *site, const char *text)
{
	struct reading reading = { site, text, false };
	struct rounds_error error;

	assert_int_equal(store_read(engine->options.store, read_in, &reading, &error), 0);
	return reading.may;
}

/* As if the time of everything had passed, and the updates of all rounds were to be kept no longer. */
static int age(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE blob SET created_us = 0", "") ||
			       blob_unuse(tx, argument, "update", INT64_MAX, error)
		       ? -1
		       : 0;
}

static bool is_kept(struct engine *engine, const json_t *job, const char *text)
{
	struct rounds_error error;
	struct digest digest;

	digest_of(text, strlen(text), &digest);
	assert_int_equal(
		store_write(engine->options.store, age, (void *)(uintptr_t)json_text_or(job, "id", ""), &error), 0);
	assert_int_equal(sweep(engine, &error), 0);
	return blob_is_there(engine->options.blobs, &digest);
}

static int list(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	json_t **job = argument, *events = NULL;
	const char *id = json_text_or(*job, "id", "");
	json_t *tasks = NULL, *row = NULL;

	if (job_find(tx, id, &row, error) || task_list(tx, id, 1, &tasks, error) ||
		event_list(tx, id, 0, 1000, &events, error))
		return -1;
	json_object_set_new(row, "tasks", tasks);
	json_object_set_new(row, "events", events);
	json_decref(*job);
	*job = row;
	return 0;
}

static bool was_said(const json_t *job, const char *words)
{
	size_t i;
	json_t *event;

	json_array_foreach (json_object_get(job, "events"), i, event)
		if (!strcmp(json_text_or(event, "message", ""), words))
			return true;
	return false;
}

static void files_go_from_issue_to_access_to_event(void **state)
{
	static const char *const names[] = { "masked.a", "masked.b", "share.b" };
	struct rounds_error error;
	struct artifact file;
	json_t *job;
	struct engine *engine = begin(state, &job);
	json_auto_t *of_a = claim(engine, "a"), *of_b = claim(engine, "b"), *both = NULL;

	assert_string_equal(json_text_or(of_a, "kind", ""), "mask");
	assert_int_equal(json_object_size(json_object_get(of_a, "files")), 0);
	assert_null(json_object_get(of_a, "model"));
	assert_int_equal(
		deliver(engine, "a", of_a,
			json_pack("{s:o, s:o}", "masked", file_of("a + mask"), "share", file_of("a's key")), &error),
		0);
	assert_false(may_read(engine, "b", "a + mask"));
	assert_int_equal(
		deliver(engine, "b", of_b,
			json_pack("{s:o, s:o}", "masked", file_of("b - mask"), "share", file_of("b's key")), &error),
		0);

	/* What the open task names, and nothing else: not what the site has brought itself. */
	assert_true(may_read(engine, "a", "a + mask") && may_read(engine, "a", "b - mask"));
	assert_true(may_read(engine, "a", "b's key") && !may_read(engine, "a", "a's key"));
	assert_false(may_read(engine, "b", "a + mask") || may_read(engine, "b", "b - mask"));
	assert_true(is_kept(engine, job, "b - mask"));
	assert_false(is_kept(engine, job, "a's key"));

	both = claim(engine, "a");
	assert_string_equal(json_text_or(both, "kind", ""), "combine");
	assert_int_equal(json_object_size(json_object_get(both, "files")), 3);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_true(artifact_find(json_object_get(both, "files"), names[i], &file));
		assert_int_equal(file.size, i == 2 ? 7 : 8);
		assert_non_null(json_object_get(json_object_get(json_object_get(both, "files"), names[i]), "data"));
	}
	assert_int_equal(deliver(engine, "a", both,
				 json_pack("{s:o, s:o, s:o}", "sum", file_of("a + b"), "proof", file_of("because"),
					 "model", file_of("nobody asked for it")),
				 &error),
		0);
	assert_false(may_read(engine, "a", "b - mask") || may_read(engine, "a", "a + b"));

	assert_int_equal(store_read(engine->options.store, list, &job, &error), 0);
	assert_string_equal(json_text_or(job, "state", ""), "completed");
	assert_true(was_said(job, "sum.a of 5 bytes") && was_said(job, "proof.a of 7 bytes"));
	assert_false(was_said(job, "model.a of 19 bytes"));
	assert_int_equal(
		json_object_size(json_object_get(json_array_get(json_object_get(job, "tasks"), 0), "result_files")),
		2);
	assert_false(is_kept(engine, job, "b - mask"));
	end(engine, job);
}

/* Names the member at fault, and fails the task: it would be the same again. */
static void refused(void **state, json_t *files, enum error_kind kind, const char *field)
{
	struct rounds_error error;
	json_t *job;
	struct engine *engine = begin(state, &job);
	json_auto_t *task = claim(engine, "a");

	assert_int_equal(deliver(engine, "a", task, files, &error), -1);
	assert_int_equal(error.kind, kind);
	assert_string_equal(error.field, field);
	assert_int_equal(store_read(engine->options.store, list, &job, &error), 0);
	assert_string_equal(json_text_or(job, "state", ""), kind == ERROR_INVALID ? "failed" : "running");
	end(engine, job);
}

static void a_result_brings_what_its_task_asks_for(void **state)
{
	refused(state, json_pack("{s:o}", "masked", file_of("a + mask")), ERROR_INVALID, "files.share");
}

static void no_file_is_other_than_it_says(void **state)
{
	json_t *wrong = file_of("a + mask");

	json_object_set_new(wrong, "size", json_integer(9));
	refused(state, json_pack("{s:o, s:o}", "masked", wrong, "share", file_of("a's key")), ERROR_INVALID,
		"files.masked.size");
}

static void what_did_not_come_is_asked_for(void **state)
{
	json_t *absent = file_of("a + mask");

	json_object_del(absent, "data");
	refused(state, json_pack("{s:o, s:o}", "masked", absent, "share", file_of("a's key")), ERROR_BLOB_MISSING,
		"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_test_in_directory(files_go_from_issue_to_access_to_event),
		unit_test_in_directory(a_result_brings_what_its_task_asks_for),
		unit_test_in_directory(no_file_is_other_than_it_says),
		unit_test_in_directory(what_did_not_come_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
