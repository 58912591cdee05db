/*
 * A day of a server in about a second: sites claim, beat, fail, fall silent and come back; leases run out and deadlines pass; people
 * submit, pause, abort and prove; the server stops, its machine boots, somebody sets the clock; receivers of webhooks are away for
 * hours. After each step nothing may be half done, and in the end everything that was accepted is in the models once.
 */
#include "tests/unit/server/people.h"

#include "common/log.h"
#include "server/store/db.h"

#include <sys/stat.h>
#include <time.h>

#define DAY_US (24 * HOUR_US)

#define GOES_ON "(SELECT id FROM job WHERE state IN ('submitted', 'queued', 'running', 'paused'))"
#define ENDED   "('completed', 'failed', 'aborted')"
#define TASK_WRONG                                                                                                   \
	"CASE state WHEN 'pending' THEN lease_due IS NOT NULL OR result IS NOT NULL OR finished_us IS NOT NULL"      \
	" WHEN 'leased' THEN lease_due IS NULL OR not_before IS NOT NULL OR result IS NOT NULL OR attempts = 0"      \
	" WHEN 'done' THEN lease_due IS NOT NULL OR result IS NULL OR finished_us IS NULL"                           \
	" WHEN 'failed' THEN lease_due IS NOT NULL OR result IS NOT NULL OR finished_us IS NULL"                     \
	" WHEN 'cancelled' THEN lease_due IS NOT NULL OR result IS NOT NULL OR finished_us IS NULL ELSE 1 END"
#define ROUND_WRONG "(state = 'done') <> (model IS NOT NULL AND manifest IS NOT NULL)"

struct invariant {
	const char *wrong, *sql; /* how many there are of what must never be */
};

/* Between any two steps. */
static const struct invariant always[] = {
	{ "a task whose columns do not belong to its state, or that was tried more often than its job allows",
		"SELECT count(*) FROM task WHERE job IN " GOES_ON " AND (failures > 3 OR attempts > 12 OR " TASK_WRONG
		")" },
	{ "a round without the model that it has made",
		"SELECT count(*) FROM round WHERE job IN " GOES_ON " AND " ROUND_WRONG },
	{ "a running job that nothing will ever move",
		"SELECT count(*) FROM job WHERE state = 'running' AND NOT EXISTS(SELECT 1 FROM timer WHERE timer.job = job.id)"
		" AND NOT EXISTS(SELECT 1 FROM task WHERE task.job = job.id AND task.state IN ('pending', 'leased'))"
		" AND NOT EXISTS(SELECT 1 FROM round WHERE round.job = job.id AND round.state = 'aggregating')" },
	{ "an open task of a job that has ended",
		"SELECT count(*) FROM task JOIN job ON job.id = task.job WHERE task.state IN ('pending', 'leased')"
		" AND job.state IN " ENDED },
	{ "a timer of a job that has ended",
		"SELECT count(*) FROM timer JOIN job ON job.id = timer.job WHERE job.state IN " ENDED },
	{ "a slot of a job that does not run",
		"SELECT count(*) FROM job_site JOIN job ON job.id = job_site.job WHERE job.state NOT IN ('running', 'paused')" },
	{ "a site with more jobs than slots",
		"SELECT count(*) FROM (SELECT site FROM job_site GROUP BY site HAVING count(*) > 2)" },
	{ "weights in use that are doomed",
		"SELECT count(*) FROM blob WHERE doomed AND digest IN (SELECT digest FROM blob_use)" },
};

/* The same of all that ever was, now and then. */
static const struct invariant whole[] = {
	{ "a task that has ended, whose columns do not belong to its state, or that was tried too often",
		"SELECT count(*) FROM task WHERE failures > 3 OR attempts > 12 OR " TASK_WRONG },
	{ "a round that has ended without its model", "SELECT count(*) FROM round WHERE " ROUND_WRONG },
	{ "a job that has ended at no time",
		"SELECT count(*) FROM job WHERE (state IN " ENDED ") <> (finished_us IS NOT NULL)" },
	{ "a job that could not go on", "SELECT count(*) FROM job WHERE reason LIKE 'internal error%'" },
	{ "weights in use that are gone",
		"SELECT count(*) FROM blob_use WHERE digest NOT IN (SELECT digest FROM blob)" },
};

/* What time has brought is done when the engine has had its turn. */
static const struct invariant overdue[] = {
	{ "a lease that ran out",
		"SELECT count(*) FROM task JOIN job ON job.id = task.job WHERE task.state = 'leased' AND job.state = 'running'"
		" AND lease_due < ?1" },
	{ "a rest that is over", "SELECT count(*) FROM task WHERE not_before < ?1 AND state = 'pending'" },
	{ "a deadline that has passed",
		"SELECT count(*) FROM timer JOIN job ON job.id = timer.job WHERE job.state = 'running' AND due < ?1" },
};

enum { WHOLE_EVERY = 200 };

static int look_at(struct federation *f, struct store_tx *tx, const struct invariant *list, size_t size,
	struct rounds_error *error)
{
	bool by_time = list == overdue;
	int64_t count;

	for (size_t i = 0; i < size; i++) {
		if (by_time ? db_integer(tx, error, 0, &count, list[i].sql, "i", f->world.steady)
			    : db_integer(tx, error, 0, &count, list[i].sql, ""))
			return -1;
		if (count)
			fail_msg("step %zu: %s", f->steps, list[i].wrong);
	}
	return 0;
}

static int look(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	static int64_t seen;
	struct federation *f = argument;
	bool at_all = f->steps % WHOLE_EVERY == 0;
	int64_t version;

	if (f->due > f->now && look_at(f, tx, overdue, ARRAY_SIZE(overdue), error))
		return -1;
	if (db_integer(tx, error, 0, &version, "PRAGMA data_version", "") || (version == seen && !at_all))
		return 0; /* nothing was written in this step */
	seen = version;
	return look_at(f, tx, always, ARRAY_SIZE(always), error) ||
			       (at_all && look_at(f, tx, whole, ARRAY_SIZE(whole), error))
		       ? -1
		       : 0;
}

static void check(struct federation *f)
{
	struct rounds_error error = { 0 };

	if (store_read(f->store, look, f, &error))
		fail_msg("%s", error.message);
}

/* In the end. */

static int read_tasks(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return db_rows(tx, error, argument,
		"SELECT id, job, site, ifnull(json_extract(result_files, '$.update.digest'), '') AS update_digest FROM task WHERE state = 'done'",
		"");
}

static int read_rounds(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return db_rows(tx, error, argument,
		"SELECT job, number, manifest AS \"manifest:json\" FROM round WHERE state = 'done' AND number > 0",
		"");
}

static void key_of(const json_t *job, const json_t *site, const json_t *update, char key[200])
{
	snprintf(key, 200, "%s %s %s", json_string_value(job), json_string_value(site), json_string_value(update));
}

/* {"JOB SITE UPDATE": null}: what the rounds' manifests say that their models were made of. Each update is of its own (federation.h). */
static json_t *inputs_of_rounds(struct federation *f)
{
	json_auto_t *rounds = NULL;
	json_t *inputs = json_object(), *round, *input;
	struct rounds_error error = { 0 };
	size_t i, j;
	char key[200];

	assert_int_equal(store_read(f->store, read_rounds, &rounds, &error), 0);
	json_array_foreach (rounds, i, round) {
		json_array_foreach (json_object_get(json_object_get(round, "manifest"), "inputs"), j, input) {
			key_of(json_object_get(round, "job"), json_object_get(input, "site"),
				json_object_get(input, "update"), key);
			assert_null(json_object_get(inputs, key)); /* in two models, or twice in one */
			json_object_set_new(inputs, key, json_null());
		}
	}
	return inputs;
}

/* What sites were told is in, is in; and models are made of nothing else. */
static void check_accepted(struct federation *f)
{
	json_auto_t *done = NULL, *inputs = inputs_of_rounds(f);
	struct rounds_error error = { 0 };
	size_t i, used = 0;
	json_t *task;
	char key[200];

	assert_int_equal(store_read(f->store, read_tasks, &done, &error), 0);
	assert_int_equal(json_array_size(done), json_object_size(f->accepted));
	json_array_foreach (done, i, task) {
		assert_string_equal(json_text_or(task, "update_digest", ""),
			json_text_or(f->accepted, json_text_or(task, "id", ""), "none"));
		key_of(json_object_get(task, "job"), json_object_get(task, "site"),
			json_object_get(task, "update_digest"), key);
		used += json_object_get(inputs, key) != NULL;
	}
	assert_int_equal(used, json_object_size(inputs));
}

static int read_events(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return db_rows(tx, error, argument, "SELECT id, kind, site, message, time_us FROM event ORDER BY id", "");
}

/* Each receiver has heard of each event that it wants, and of none twice but for what was under way when the server stopped. */
static void check_told(struct federation *f, const json_t *events)
{
	static const char *const wanted[] = { "running", "completed", "failed", "aborted", "task_failed" };
	size_t i, repeated = 0;
	json_t *event;

	json_array_foreach (events, i, event) {
		int64_t id = json_integer_or(event, "id", 0);
		bool wants = false;

		for (size_t k = 0; k < ARRAY_SIZE(wanted); k++)
			wants = wants || !strcmp(json_text_or(event, "kind", ""), wanted[k]);
		for (size_t to = 0; to < RECEIVERS; to++) {
			if ((f->told[to][id] > 0) != wants)
				fail_msg("receiver %zu has heard of event %lld %d times", to, (long long)id,
					f->told[to][id]);
			repeated += f->told[to][id] > 1 ? f->told[to][id] - 1u : 0;
		}
	}
	assert_true(repeated <= RECEIVERS * f->restarts);
}

static bool all_is_over(struct federation *f)
{
	json_auto_t *open = federation_row(
		f, "SELECT 1 AS one FROM job WHERE state NOT IN ('completed', 'failed', 'aborted') LIMIT 1");

	for (size_t to = 0; to < RECEIVERS; to++)
		if (f->letters[to].receiver)
			return false;
	return !open;
}

struct day {
	struct digest digest;
	size_t steps, jobs, completed, events, skipped;
	double seconds;
};

static size_t count_of(struct federation *f, const char *sql)
{
	json_auto_t *row = federation_row(f, sql);

	return (size_t)json_integer_or(row, "n", 0);
}

/* A day in which people submit, what is left after it, and a day in which nothing happens but what time brings. */
static struct day live(const char *directory, uint64_t seed)
{
	static struct federation f;
	struct people people;
	clock_t begun = clock();
	json_auto_t *events = NULL;
	struct rounds_error error = { 0 };
	struct day day = { 0 };
	scoped(text_free) char *text = NULL;

	printf("seed %llu: ", (unsigned long long)seed);
	fflush(stdout);
	federation_begin(&f, directory, seed);
	people_begin(&people, &f);
	while (f.now < DAY_US || !all_is_over(&f)) {
		assert_true(f.now < 4 * DAY_US);
		federation_step(&f, people.next > f.now ? people.next : f.now + SECOND_US);
		people_act(&people, f.now < DAY_US);
		check(&f);
	}
	f.outage = false;
	for (size_t i = 0; i < SITES; i++)
		f.sites[i].next = INT64_MAX;
	f.steps = f.steps / WHOLE_EVERY * WHOLE_EVERY + WHOLE_EVERY;
	check(&f);
	for (int64_t end = f.now + DAY_US + 10 * MINUTE_US; f.now < end;)
		federation_step(&f, end);
	check(&f);
	check_accepted(&f);
	assert_int_equal(store_read(f.store, read_events, &events, &error), 0);
	assert_in_range(json_array_size(events), 1, EVENTS_MAX - 1);
	check_told(&f, events);
	/* What nothing uses any more has gone. */
	assert_int_equal(
		count_of(&f, "SELECT count(*) AS n FROM blob WHERE digest NOT IN (SELECT digest FROM blob_use)"), 0);
	text = json_dumps(events, JSON_COMPACT);
	digest_of(text, strlen(text), &day.digest);
	day.steps = f.steps;
	day.events = json_array_size(events);
	day.jobs = count_of(&f, "SELECT count(*) AS n FROM job");
	day.completed = count_of(&f, "SELECT count(*) AS n FROM job WHERE state = 'completed'");
	day.skipped = count_of(&f, "SELECT count(*) AS n FROM event WHERE kind = 'site_skipped'");
	day.seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
	printf("%zu jobs, %zu completed, %zu events, %zu steps; %zu results in, %zu of them twice, %zu late, %zu refused; "
	       "%zu starts: %.2f s of the processor\n",
		day.jobs, day.completed, day.events, day.steps, json_object_size(f.accepted), f.repeated, f.late,
		f.refused, f.restarts, day.seconds);
	assert_true(f.repeated > 0 && f.late > 0 && f.refused > 0 && f.restarts > 0 && day.completed > 0);
	federation_end(&f);
	people_end(&people);
	return day;
}

static void days(void **state)
{
	static const uint64_t seeds[] = { 1, 2, 3 };
	size_t skipped = 0;

	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		char name[20];

		snprintf(name, sizeof(name), "%zu", i);
		assert_int_equal(mkdir(in(state, name), 0700), 0);
		skipped += live(in(state, name), seeds[i]).skipped;
	}
	assert_true(skipped > 0); /* not on each day is there whom to skip */
}

static void the_same_day_again(void **state)
{
	struct day first, second;

	assert_int_equal(mkdir(in(state, "first"), 0700) | mkdir(in(state, "second"), 0700), 0);
	first = live(in(state, "first"), 7);
	second = live(in(state, "second"), 7);
	assert_int_equal(first.steps, second.steps);
	assert_true(digest_equal(&first.digest, &second.digest));
}

static uint64_t chosen;

static void the_chosen_day(void **state)
{
	live(*state, chosen);
}

/* `server_test_day SEED` is that day alone. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(days, make_fast_directory, remove_directory),
		cmocka_unit_test_setup_teardown(the_same_day_again, make_fast_directory, remove_directory),
	};
	const struct CMUnitTest one[] = {
		cmocka_unit_test_setup_teardown(the_chosen_day, make_fast_directory, remove_directory),
	};

	log_set_level(LOG_ERROR);
	if (argc < 2)
		return cmocka_run_group_tests(tests, NULL, NULL);
	chosen = strtoull(argv[1], NULL, 10);
	return cmocka_run_group_tests(one, NULL, NULL);
}
