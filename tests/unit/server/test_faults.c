/*
 * A job from its submission to its deletion, and beside it an upload, a token and an invitation. Each step is tried again and again:
 * with its first allocation failing, with its second, and so on until it needs no more; then likewise with full disks, torn writes
 * and failing syncs, after each of which the server starts anew. What the store holds is always what it held before the step, or
 * what the step makes of it when nothing fails: never a mix. Weights that the index names are whole.
 */
#include "tests/unit/faults.h"
#include "tests/unit/server/federation.h"

#include "common/log.h"
#include "server/auth/sites.h"
#include "server/store/db.h"

#include <ftw.h>

/* One after the other; the deed is over when `call` has returned 0. */
struct step {
	const char *name;
	int (*call)(struct federation *f, struct rounds_error *error);
	bool repeats; /* asked again after it was done, it says so and does nothing */
};

static const char *const fault_names[] = {
	[FAULT_MEMORY] = "memory", [FAULT_SPACE] = "space", [FAULT_TORN] = "torn", [FAULT_SYNC] = "sync"
};

static char job_id[UUID_TEXT_SIZE];
static const char *const small_upload = "not weights, but bytes";

static int submit(struct federation *f, struct rounds_error *error)
{
	json_auto_t *spec = json_pack("{s:s, s:s, s:[s, s], s:{s:i}}", "name", "job", "dataset", "d", "sites",
		"site-00", "site-01", "params", "rounds", 1);
	json_auto_t *faults = json_array(), *job = NULL;
	const struct submission submission = { .spec = spec, .caller = "ann", .key = "k" };

	if (!spec || !faults)
		return error_no_memory(error);
	if (engine_submit(f->engine, &submission, &job, faults, error))
		return -1;
	snprintf(job_id, sizeof(job_id), "%s", json_text_or(job, "id", ""));
	return 0;
}

static int tick(struct federation *f, struct rounds_error *error)
{
	int64_t due;

	return tick_once(f->engine, &due, error);
}

static int claim(struct federation *f, struct puppet *site, struct rounds_error *error)
{
	json_t *task = NULL;

	if (!site->facts)
		site->facts = json_pack("{s:i, s:s, s:i, s:[s], s:[s], s:[], s:s, s:{}}", "protocol", 2, "version",
			"0.1.0", "slots", 2, "datasets", "d", "executors", "trainer", "holding", "instance",
			site->instance, "tables");
	if (!site->facts)
		return error_no_memory(error);
	site->claim = (struct claim){ .site = site->name, .facts = site->facts, .wait_us = CLAIM_US };
	if (engine_claim_begin(f->engine, &site->claim, error) || engine_claim(f->engine, &site->claim, &task, error))
		return -1;
	if (!task)
		return 0;
	json_decref(site->task);
	site->task = task;
	return 0;
}

static int claim_first(struct federation *f, struct rounds_error *error)
{
	return claim(f, &f->sites[0], error);
}

static int claim_second(struct federation *f, struct rounds_error *error)
{
	return claim(f, &f->sites[1], error);
}

static int beat(struct federation *f, struct rounds_error *error)
{
	json_auto_t *body = json_pack("{s:s, s:f, s:[s]}", "stage", "train", "fraction", 0.5, "log", "a line"),
		    *answer = NULL;

	if (!body)
		return error_no_memory(error);
	return engine_heartbeat(
		f->engine, f->sites[0].name, json_text_or(f->sites[0].task, "id", ""), body, &answer, error);
}

/* What the site delivers follows from its task; made before anything fails. */
static json_t *results[2];

static int deliver(struct federation *f, size_t site, struct rounds_error *error)
{
	json_auto_t *answer = NULL;

	return engine_result(f->engine, f->sites[site].name, json_text_or(f->sites[site].task, "id", ""),
		results[site], &answer, error);
}

static void make_results(struct federation *f)
{
	for (size_t i = 0; i < 2; i++) {
		const char *kind = json_text_or(f->sites[i].task, "kind", "");

		f->made = i + strlen(kind);
		f->dice = 1;
		json_decref(results[i]);
		results[i] = puppet_result(f, kind);
	}
}

static int deliver_first(struct federation *f, struct rounds_error *error)
{
	return deliver(f, 0, error);
}

static int deliver_second(struct federation *f, struct rounds_error *error)
{
	return deliver(f, 1, error);
}

static int make_model(struct federation *f, struct rounds_error *error)
{
	return aggregate_once(f->engine, error) ? 0 : -1;
}

static int ask_for_proof(struct federation *f, struct rounds_error *error)
{
	char id[37];

	return engine_verify(f->engine, job_id, id, error);
}

static int prove(struct federation *f, struct rounds_error *error)
{
	return prove_once(f->engine) ? 0 : -1;
}

static int upload(struct federation *f, struct rounds_error *error)
{
	const struct new_upload row = { .id = "u", .owner = "person:ann", .length = strlen(small_upload) };
	struct rounds_error ignored;
	struct upload *writing;
	uint64_t offset;

	if (engine_upload_new(f->engine, &row, true, error))
		return -1;
	if (upload_begin(f->blobs, "u", row.owner, 0, &writing, error))
		return (void)!engine_upload_drop(f->engine, "u", &ignored), -1;
	if (upload_write(writing, small_upload, strlen(small_upload), error)) {
		(void)!upload_end(writing, &offset, &ignored);
		return (void)!engine_upload_drop(f->engine, "u", &ignored), -1;
	}
	if (upload_end(writing, &offset, error) || engine_upload_complete(f->engine, "u", row.owner, NULL, error))
		return (void)!engine_upload_drop(f->engine, "u", &ignored), -1;
	return 0;
}

static int make_token(struct federation *f, struct rounds_error *error)
{
	char secret[80], id[37];

	return auth_token_new(f->auth, NULL, "t", "viewer", 0, secret, id, error);
}

static int invite(struct federation *f, struct rounds_error *error)
{
	struct authority authority = { .fingerprint = "sha256:00" };
	struct invitation invitation = { .site = "new" };

	return auth_invite(f->auth, &authority, "ann", &invitation, error);
}

static int delete_job(struct federation *f, struct rounds_error *error)
{
	bool gone;

	return engine_delete(f->engine, job_id, &gone, error);
}

static const struct step story[] = {
	{ "a site claims before there is work", claim_first },
	{ "another claims", claim_second },
	{ "submission", submit, .repeats = true },
	{ "start", tick },
	{ "claim of the first task", claim_first },
	{ "heartbeat", beat },
	{ "the initial model", deliver_first, .repeats = true },
	{ "claim of training", claim_first },
	{ "claim of training by the other", claim_second },
	{ "an update", deliver_first, .repeats = true },
	{ "the last update", deliver_second, .repeats = true },
	{ "aggregation", make_model },
	{ "claim of evaluation", claim_first },
	{ "claim of evaluation by the other", claim_second },
	{ "a measurement", deliver_first, .repeats = true },
	{ "the last measurement", deliver_second, .repeats = true },
	{ "a proof is asked for", ask_for_proof },
	{ "proof", prove },
	{ "upload", upload },
	{ "token", make_token },
	{ "invitation", invite },
	{ "deletion", delete_job },
};

/* All that is in the store, but for what is said of a start. */
static int read_all(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	static const char *const tables[] = { "SELECT * FROM job", "SELECT * FROM job_site", "SELECT * FROM task",
		"SELECT * FROM round", "SELECT * FROM timer", "SELECT * FROM event", "SELECT * FROM metric",
		"SELECT * FROM blob", "SELECT * FROM blob_owner", "SELECT * FROM blob_use", "SELECT * FROM upload",
		"SELECT * FROM verification", "SELECT * FROM token", "SELECT * FROM invitation",
		"SELECT * FROM site" };
	json_t *all = argument;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		json_t *rows = NULL;

		if (db_rows(tx, error, &rows, tables[i], ""))
			return -1;
		json_object_set_new(all, tables[i], rows);
	}
	return 0;
}

static json_t *contents(struct federation *f)
{
	struct rounds_error error = { 0 };
	json_t *all = json_object();

	if (store_read(f->store, read_all, all, &error))
		fail_msg("%s", error.message);
	return all;
}

/* Every blob that the index names, and does not let go, is there and has its digest. */
static void check_blobs(struct federation *f, const json_t *all, const char *when)
{
	size_t i;
	json_t *row;

	json_array_foreach (json_object_get(all, "SELECT * FROM blob"), i, row) {
		scoped(view_release) struct view view = { 0 };
		struct rounds_error error = { 0 };
		struct digest named, actual;

		assert_true(digest_parse(json_text_or(row, "digest", ""), &named));
		if (json_integer_or(row, "doomed", 0))
			continue;
		if (blob_hold(f->blobs, &named, &view, &error) || view_want(&view, 0, view.size, &error))
			fail_msg("%s: %s", when, error.message);
		digest_of(view.bytes, view.size, &actual);
		if (!digest_equal(&named, &actual))
			fail_msg("%s: weights that are not whole", when);
	}
}

/* The directory as it was, to come back to. */

static const char *copy_from, *copy_to;

static int copy_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
	char to[600];
	char *bytes;
	size_t size;
	struct rounds_error error = { 0 };

	snprintf(to, sizeof(to), "%s%s", copy_to, path + strlen(copy_from));
	if (type == FTW_D)
		return mkdir(to, 0700) && errno != EEXIST;
	if (type != FTW_F)
		return 0;
	if (file_read(path, 1 << 26, &bytes, &size, &error))
		fail_msg("%s", error.message);
	write_file(to, bytes, size);
	free(bytes);
	return 0;
}

static void copy_directory(const char *from, const char *to)
{
	directory_remove(to);
	copy_from = from;
	copy_to = to;
	assert_int_equal(nftw(from, copy_one, 20, FTW_PHYS), 0);
}

/* Where the step begins, for every try of it. */
struct start {
	char kept[300]; /* the directory's copy */
	struct test_world world;
	json_t *before, *after;
	json_t *tasks[2];
};

/* After a start the sites are heard of again: who is there is in memory alone. */
static void hear_of_sites(struct federation *f)
{
	for (size_t i = 0; i < 2; i++) {
		struct arrival arrival = {
			.site = f->sites[i].name, .instance = f->sites[i].instance, .wait_us = CLAIM_US
		};

		if (f->sites[i].facts)
			assert_true(presence_claim(f->engine->presence, &arrival));
	}
}

static void go_back(struct federation *f, const struct start *start, bool reopen)
{
	if (reopen) {
		federation_close(f);
		copy_directory(start->kept, f->directory);
	}
	f->world = start->world;
	for (size_t i = 0; i < 2; i++) {
		json_decref(f->sites[i].task);
		f->sites[i].task = json_incref(start->tasks[i]);
	}
	if (reopen) {
		federation_open(f);
		hear_of_sites(f);
	}
}

/* Aggregation may also put the job on hold, with the reason; it goes on, and comes to the same model. */
static bool is_held(struct federation *f, const struct start *start, const json_t *now)
{
	const json_t *job = json_array_get(json_object_get(now, "SELECT * FROM job"), 0);
	struct rounds_error error = { 0 };
	json_auto_t *then = NULL;

	if (strcmp(json_text_or(job, "state", ""), "paused") != 0)
		return false;
	assert_non_null(json_text_or(job, "reason", NULL));
	assert_int_equal(engine_command(f->engine, job_id, COMMAND_RESUME, "ann", &error), 0);
	if (!aggregate_once(f->engine, &error))
		fail_msg("what was on hold does not go on: %s; %s", json_text_or(job, "reason", ""), error.message);
	then = contents(f);
	job = json_array_get(json_object_get(then, "SELECT * FROM job"), 0);
	assert_string_equal(json_text_or(job, "model", ""),
		json_text_or(json_array_get(json_object_get(start->after, "SELECT * FROM job"), 0), "model", "none"));
	return true;
}

/* Of the allocations, each so-many-th fails: there are thousands. */
static long stride = 31;

static size_t complaints;

/* Goes on, so that one run shows all that is wrong. */
static void complain(const char *when, const char *what, const struct rounds_error *error)
{
	if (complaints++ < 40)
		printf("%s: %s (%s)\n", when, what, error->message);
}

/* One try with the n-th thing failing; false: it needs fewer. */
static bool try_with(
	struct federation *f, const struct step *step, const struct start *start, enum fault_kind kind, long n)
{
	bool reached, changed, failed;
	struct rounds_error error = { 0 };
	json_auto_t *now = NULL, *again = NULL;
	char when[120];

	go_back(f, start, false);
	fault_begin(kind, n);
	failed = step->call(f, &error) != 0;
	reached = fault_end();
	snprintf(when, sizeof(when), "%s, %s, number %ld", step->name, fault_names[kind], n);
	if (failed && !reached)
		fail_msg("%s: %s", when, error.message);
	if (kind != FAULT_MEMORY) {
		federation_restart(f, false);
		hear_of_sites(f);
	}
	now = contents(f);
	changed = !json_equal(now, start->before);
	check_blobs(f, now, when);
	if ((changed || !failed) && !json_equal(now, start->after) && !is_held(f, start, now))
		complain(when, failed ? "something half done" : "it says that it is done, and it is not", &error);
	if (changed && json_equal(now, start->after) && step->repeats) {
		f->world = start->world;
		if (step->call(f, &error))
			complain(when, "refused when said again", &error);
		again = contents(f);
		if (!json_equal(again, start->after))
			complain(when, "counts twice when said again", &error);
	}
	if (changed)
		go_back(f, start, true);
	return reached;
}

static void endure(struct federation *f, const struct step *step, const char *kept, enum fault_kind last)
{
	struct start start = { .world = f->world };
	struct rounds_error error = { 0 };
	long counts[FAULT_SYNC + 1] = { 0 };

	snprintf(start.kept, sizeof(start.kept), "%s", kept);
	federation_close(f); /* the copy has no log beside it */
	copy_directory(f->directory, start.kept);
	federation_open(f);
	hear_of_sites(f);
	make_results(f);
	start.before = contents(f);
	for (size_t i = 0; i < 2; i++)
		start.tasks[i] = json_incref(f->sites[i].task);
	go_back(f, &start, false);
	if (step->call(f, &error))
		fail_msg("%s: %s", step->name, error.message);
	start.after = contents(f);
	go_back(f, &start, true);
	for (enum fault_kind kind = FAULTS_OF_MEMORY ? FAULT_MEMORY : FAULT_SPACE; kind <= last; kind++)
		for (long n = 1; try_with(f, step, &start, kind, n); n += kind == FAULT_MEMORY ? stride : 1)
			counts[kind] = n;
	go_back(f, &start, true);
	if (step->call(f, &error))
		fail_msg("%s: %s", step->name, error.message);
	printf("%s: %ld allocations, %ld writes, %ld times torn, %ld syncs\n", step->name, counts[FAULT_MEMORY],
		counts[FAULT_SPACE], counts[FAULT_TORN], counts[FAULT_SYNC]);
	fflush(stdout);
	json_decref(start.before);
	json_decref(start.after);
	json_decref(start.tasks[0]);
	json_decref(start.tasks[1]);
}

static void every_fault_of_every_step(void **state)
{
	static struct federation f;
	char kept[300];

	snprintf(kept, sizeof(kept), "%s", in(state, "kept"));
	assert_int_equal(mkdir(in(state, "data"), 0700), 0);
	federation_begin(&f, strdup(in(state, "data")), 1);
	for (size_t i = 0; i < ARRAY_SIZE(story); i++)
		endure(&f, &story[i], kept, FAULT_SYNC);
	assert_int_equal(complaints, 0);
	free((void *)(uintptr_t)f.directory);
	json_decref(results[0]);
	json_decref(results[1]);
	federation_end(&f);
}

/* `server_test_faults 1` lets every allocation fail. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_fault_of_every_step, make_fast_directory, remove_directory),
	};

	if (argc > 1)
		stride = strtol(argv[1], NULL, 10);
	log_set_level(LOG_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
