/* Somebody who may look into one project finds nothing of another: no object, no row of a list, no event of the feed. */
#include "tests/unit/test.h"

#include "common/json.h"
#include "server/routes/app.h"
#include "server/store/blob_index.h"
#include "server/store/db.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

/* No role is of one project yet: this caller is the test's. */
struct look {
	struct app app;
	json_t *names;
	struct scope heart;
	struct caller caller;
	json_t *rows;
	char tasks[2][UUID_TEXT_SIZE];
};

static const char *const jobs[] = { "of-heart", "of-lung" }, *const proofs[] = { "proof-heart", "proof-lung" },
			 *const models[] = { "sha256:heart", "sha256:lung" };

static int fill(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	static const char *const projects[] = { "heart", "lung" };
	struct look *look = argument;

	for (size_t i = 0; i < 2; i++) {
		json_auto_t *spec = json_pack(
			"{s:s, s:s, s:s}", "name", projects[i], "workflow", "fedavg", "project", projects[i]);
		json_auto_t *files = json_object(), *tasks = NULL;
		const struct new_job job = { .id = jobs[i], .submitted_by = "me", .spec = spec, .rounds = 1 };
		const struct new_task task = { .job = jobs[i], .kind = "train", .site = "a", .files = files };

		if (db_run(tx, error, "INSERT INTO project VALUES(?1, 0)", "s", projects[i]) ||
			job_insert(tx, &job, error) || task_insert(tx, &task, error) ||
			task_list(tx, jobs[i], -1, &tasks, error) ||
			verification_insert(tx, proofs[i], jobs[i], error) ||
			blob_index_add(tx, models[i], 1, "person:other", error) ||
			blob_use(tx, jobs[i], models[i], "initial", 0, error))
			return -1;
		snprintf(look->tasks[i], UUID_TEXT_SIZE, "%s", json_text_or(json_array_get(tasks, 0), "id", ""));
	}
	return blob_index_add(tx, "sha256:mine", 1, "person:me", error) ||
			       blob_index_add(tx, "sha256:theirs", 1, "person:other", error)
		       ? -1
		       : 0;
}

static void begin(void **state, struct look *look)
{
	struct rounds_error error;

	*look = (struct look){ .names = json_pack("[s]", "heart") };
	look->heart.projects = look->names;
	look->caller = (struct caller){ .kind = CALLER_PERSON, .name = "me", .role = "admin", .scope = &look->heart };
	assert_int_equal(store_open(in(state, "db"), world_real(), &look->app.store, &error), 0);
	assert_int_equal(store_write(look->app.store, fill, look, &error), 0);
}

static void end(struct look *look)
{
	store_close(look->app.store);
	json_decref(look->names);
}

static void finds(struct look *look, const char *kind, const char *id)
{
	struct rounds_error error = { 0 };

	if (object_check(&look->app, &look->caller, kind, id, &error))
		fail_msg("%s %s: %s", kind, id, error.message);
}

/* What is another's and what nobody has ever seen are told apart by no word. */
static void does_not_find(struct look *look, const char *kind, const char *id)
{
	struct rounds_error error = { 0 }, unknown = { 0 };
	char *at;

	assert_int_equal(object_check(&look->app, &look->caller, kind, id, &error), -1);
	assert_int_equal(object_check(&look->app, &look->caller, kind, "no-such-id", &unknown), -1);
	assert_int_equal(error.kind, ERROR_NOT_FOUND);
	assert_int_equal(unknown.kind, ERROR_NOT_FOUND);
	at = strstr(unknown.message, "no-such-id");
	if (at)
		memcpy(at, "", 1);
	assert_memory_equal(error.message, unknown.message, strlen(unknown.message));
	assert_string_equal(error.message + strlen(unknown.message), at ? id : "");
}

static void objects_of_another_project_are_not_there(void **state)
{
	struct look look;

	begin(state, &look);
	finds(&look, "job", jobs[0]);
	finds(&look, "task", look.tasks[0]);
	finds(&look, "verification", proofs[0]);
	finds(&look, "digest", models[0]);
	finds(&look, "digest", "sha256:mine");
	finds(&look, "site", "a");
	does_not_find(&look, "job", jobs[1]);
	does_not_find(&look, "task", look.tasks[1]);
	does_not_find(&look, "verification", proofs[1]);
	does_not_find(&look, "digest", models[1]);
	does_not_find(&look, "digest", "sha256:theirs");
	does_not_find(&look, "planet", "earth");
	look.caller.scope = &scope_all;
	finds(&look, "job", jobs[0]);
	finds(&look, "job", jobs[1]);
	look.caller.scope = NULL;
	does_not_find(&look, "job", jobs[0]);
	end(&look);
}

static int list_jobs(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct look *look = argument;
	static const char *const sorts[] = { "-created", "created", "name", "-finished" };

	for (size_t i = 0; i < ARRAY_SIZE(sorts); i++) {
		const struct job_filter filter = { .scope = look->caller.scope, .sort = sorts[i], .limit = 10 };

		json_decref(look->rows);
		if (job_list(tx, &filter, &look->rows, error))
			return -1;
		if (look->caller.scope->projects) {
			assert_int_equal(json_array_size(look->rows), 1);
			assert_string_equal(json_text_or(json_array_get(look->rows, 0), "id", ""), jobs[0]);
		} else
			assert_int_equal(json_array_size(look->rows), 2);
	}
	return 0;
}

static int add_events(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct new_event theirs = { .kind = "queued", .message = "words of lung", .round = -1 };
	const struct new_event ours = { .kind = "queued", .message = "words of heart", .round = -1 };

	return event_add(tx, jobs[1], &theirs, error) || event_add(tx, jobs[0], &ours, error) ? -1 : 0;
}

static int list_events(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct look *look = argument;

	json_decref(look->rows);
	return event_list_newest(tx, look->caller.scope, INT64_MAX, 10, &look->rows, error);
}

static void lists_hold_what_is_in_the_scope(void **state)
{
	struct look look;
	struct rounds_error error;

	begin(state, &look);
	assert_int_equal(store_write(look.app.store, add_events, NULL, &error), 0);
	assert_int_equal(store_read(look.app.store, list_jobs, &look, &error), 0);
	assert_int_equal(store_read(look.app.store, list_events, &look, &error), 0);
	assert_int_equal(json_array_size(look.rows), 1);
	assert_string_equal(json_text_or(json_array_get(look.rows, 0), "message", ""), "words of heart");
	assert_null(json_object_get(json_array_get(look.rows, 0), "project"));
	look.caller.scope = &scope_all;
	assert_int_equal(store_read(look.app.store, list_jobs, &look, &error), 0);
	assert_int_equal(store_read(look.app.store, list_events, &look, &error), 0);
	assert_int_equal(json_array_size(look.rows), 2);
	json_decref(look.rows);
	end(&look);
}

static void wake(void *context) {}

static void wake_key(void *context, const char *key) {}

/* Reads until `word` has come, or for a minute. */
static void read_until(struct watcher *watcher, const char *word, char text[16384])
{
	size_t used = 0;

	text[0] = '\0';
	for (int turn = 0; turn < 6000 && !strstr(text, word); turn++) {
		ssize_t more = watcher_read(watcher, text + used, 16383 - used);

		assert_true(more >= 0);
		used += (size_t)more;
		text[used] = '\0';
		if (!more)
			usleep(10000);
	}
	assert_non_null(strstr(text, word));
}

static void the_feed_tells_what_is_in_the_scope(void **state)
{
	struct engine_options options = { .world = world_real(), .wake = wake_key, .uploads = { 1000, 10000, 100 } };
	struct feed_options feed_options = { .wake = wake };
	struct watcher *ours, *all, *back;
	struct rounds_error error;
	struct look look;
	char text[16384];

	begin(state, &look);
	options.store = feed_options.store = look.app.store;
	assert_int_equal(blobs_open(*state, &options.blobs, &error), 0);
	assert_int_equal(engine_open(&options, &feed_options.engine, &error), 0);
	assert_int_equal(feed_new(&feed_options, &look.app.feed, &error), 0);
	assert_int_equal(feed_start(look.app.feed, &error), 0);
	assert_int_equal(feed_watch(look.app.feed, look.caller.scope, NULL, -1, &ours, &error), 0);
	assert_int_equal(feed_watch(look.app.feed, &scope_all, NULL, -1, &all, &error), 0);
	assert_int_equal(store_write(look.app.store, add_events, NULL, &error), 0);
	feed_touch(look.app.feed, jobs[1]); /* theirs is told before ours */
	feed_touch(look.app.feed, jobs[0]);
	read_until(ours, "event: job\n", text);
	assert_non_null(strstr(text, "words of heart"));
	assert_null(strstr(text, "lung"));
	read_until(all, "\"id\":\"of-heart\"", text);
	assert_non_null(strstr(text, "words of lung"));
	assert_non_null(strstr(text, "\"id\":\"of-lung\""));
	assert_int_equal(feed_watch(look.app.feed, look.caller.scope, NULL, 0, &back, &error), 0);
	read_until(back, "words of heart", text);
	assert_null(strstr(text, "lung"));
	assert_null(strstr(text, "\"project\""));
	watcher_close(ours);
	watcher_close(all);
	watcher_close(back);
	feed_free(look.app.feed);
	engine_close(feed_options.engine);
	end(&look);
	blobs_close(options.blobs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_test_in_directory(objects_of_another_project_are_not_there),
		unit_test_in_directory(lists_hold_what_is_in_the_scope),
		unit_test_in_directory(the_feed_tells_what_is_in_the_scope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
