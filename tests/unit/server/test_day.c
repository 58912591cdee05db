/*
 * A day of a server in about a second: sites claim, beat, fail, fall silent and come back; leases run out and deadlines pass; people
 * submit, pause, abort and prove; the server stops, its machine boots, somebody sets the clock; receivers of webhooks are away for
 * hours. After each step nothing may be half done, and in the end everything that was accepted is in the models once.
 */
#include "tests/unit/server/federation.h"

#include "common/log.h"
#include "common/random.h"
#include "server/store/invitations.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"

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

/* People. */

struct people {
	struct federation *f;
	char token[80], session[24], invitation[200];
	int64_t next, token_ends, session_ends, invitation_ends; /* ends: wall time */
	struct setup setup;
	json_t *paused;  /* {job: when it goes on} */
	json_t *removed; /* {site: when it is back} */
	size_t submitted;
};

static int give_password(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct people *people = argument;
	char hash[65];

	auth_hash(people->session, hash);
	return db_run(tx, error, "UPDATE user SET password = 'p' WHERE name = 'ann'",
		       "") || db_run(tx, error,
				      "INSERT INTO session(hash, user, created_us, expires_us) VALUES(?1, 'ann', 0, ?2)",
				      "si", hash, people->session_ends)
		       ? -1
		       : 0;
}

static void people_begin(struct people *people, struct federation *f)
{
	struct authority authority = { .fingerprint = "sha256:00" };
	struct invitation invitation = { .site = "site-late" };
	struct rounds_error error = { 0 };
	int64_t wall = f->world.wall;
	char id[37];

	*people = (struct people){ .f = f, .next = f->now, .paused = json_object(), .removed = json_object() };
	people->token_ends = wall + 8 * HOUR_US;
	people->session_ends = wall + 12 * HOUR_US;
	strcpy(people->session, "secret");
	assert_int_equal(auth_user_add(f->auth, "ann", "admin", &people->setup, &error), 0);
	federation_write(f, give_password, people);
	assert_int_equal(
		auth_token_new(f->auth, NULL, "t", "viewer", people->token_ends, people->token, id, &error), 0);
	assert_int_equal(auth_invite(f->auth, &authority, "ann", &invitation, &error), 0);
	assert_true(invitation.expires_us == wall + 24 * HOUR_US);
	strcpy(people->invitation, invitation.text);
	people->invitation_ends = invitation.expires_us;
}

static int find_invitation(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct invited invited;

	return invitation_find(tx, argument, &invited, error);
}

/* Secrets are good until their time is up, whatever was restarted meanwhile. */
static void check_secrets(struct people *people)
{
	struct federation *f = people->f;
	struct rounds_error error = { 0 };
	struct session session;
	struct bearer bearer;
	char hash[65];
	int64_t wall = f->world.wall;

	assert_int_equal(auth_token(f->auth, people->token, &bearer, &error) == 0, people->token_ends >= wall);
	assert_int_equal(auth_session(f->auth, people->session, &session, &error) == 0, people->session_ends > wall);
	auth_hash(people->invitation, hash);
	assert_int_equal(store_read(f->store, find_invitation, hash, &error) == 0, people->invitation_ends > wall);
}

static void submit(struct people *people)
{
	static const char *const workflows_used[] = { "fedavg", "fedavg", "fedprox", "cyclic", "fedbuff" };
	struct federation *f = people->f;
	const char *workflow = workflows_used[throw_dice(f, ARRAY_SIZE(workflows_used))];
	bool in_rounds = workflow[3] == 'a' || workflow[3] == 'p';
	json_auto_t *params = json_pack("{s:i}", "rounds", (int)between(f, 1, in_rounds ? 6 : 3));
	json_auto_t *sites = json_array(), *faults = json_array(), *spec = NULL, *job = NULL;
	struct rounds_error error = { 0 };
	struct submission submission = { .caller = "ann" };
	char name[20], key[20];

	for (size_t i = 0; i < SITES; i++)
		if (throw_dice(f, 3) == 0)
			json_array_append_new(sites, json_string(f->sites[i].name));
	if (json_array_size(sites) < 2)
		json_array_clear(sites); /* all that there are */
	if (in_rounds && throw_dice(f, 2)) {
		json_object_set_new(params, "quorum", json_integer(2));
		json_object_set_new(params, "deadline_seconds", json_integer(between(f, 1800, 7200)));
		json_object_set_new(params, "grace_seconds", json_integer(between(f, 0, 600)));
	}
	snprintf(name, sizeof(name), "job %zu", people->submitted++);
	snprintf(key, sizeof(key), "key %zu", people->submitted);
	spec = json_pack("{s:s, s:s, s:s, s:O, s:O, s:i, s:i, s:i, s:i}", "name", name, "dataset", "d", "workflow",
		workflow, "params", params, "sites", sites, "min_sites", 2, "lease_seconds",
		(int)between(f, 300, 1800), "priority", (int)throw_dice(f, 3), "seed", (int)throw_dice(f, 1000));
	submission.spec = spec;
	submission.key = key;
	if (engine_submit(f->engine, &submission, &job, faults, &error))
		fail_msg("%s %s", error.field, error.message);
	if (throw_dice(f, 5) == 0) { /* the answer was lost */
		json_auto_t *again = NULL;

		assert_int_equal(engine_submit(f->engine, &submission, &again, faults, &error), 0);
		assert_string_equal(json_text_or(again, "id", "1"), json_text_or(job, "id", "2"));
	}
}

struct choice {
	const char *sql;
	json_t *row;
};

static int read_choice(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct choice *choice = argument;

	return db_first(tx, error, &choice->row, choice->sql, "");
}

/* One row, or NULL: a new reference. */
static json_t *choose_row(struct federation *f, const char *sql)
{
	struct choice choice = { .sql = sql };
	struct rounds_error error = { 0 };

	if (store_read(f->store, read_choice, &choice, &error))
		fail_msg("%s", error.message);
	return choice.row;
}

static void command(struct people *people, enum job_command what)
{
	json_auto_t *job = choose_row(
		people->f, "SELECT id FROM job WHERE state = 'running' ORDER BY id DESC LIMIT 1");
	struct rounds_error error = { 0 };

	if (!job)
		return;
	if (engine_command(people->f->engine, json_text_or(job, "id", ""), what, "ann", &error))
		fail_msg("%s", error.message);
	if (what == COMMAND_PAUSE)
		json_object_set_new(people->paused, json_text_or(job, "id", ""),
			json_integer(people->f->now + between(people->f, MINUTE_US, HOUR_US)));
}

static void skip_silent(struct people *people)
{
	json_auto_t *task = choose_row(people->f,
		"SELECT task.job, site FROM task JOIN job ON job.id = task.job WHERE"
		" task.state = 'pending' AND job.state = 'running' ORDER BY task.id LIMIT 1");
	struct rounds_error error = { 0 };

	if (task && engine_skip(people->f->engine, json_text_or(task, "job", ""), json_text_or(task, "site", ""),
			    "ann", &error))
		fail_msg("%s", error.message);
}

static void ask_for_proof(struct people *people)
{
	json_auto_t *job = choose_row(
		people->f, "SELECT id FROM job WHERE state = 'completed' AND verified IS NULL LIMIT 1");
	struct rounds_error error = { 0 };
	char id[37];

	if (job)
		assert_int_equal(engine_verify(people->f->engine, json_text_or(job, "id", ""), id, &error), 0);
}

static void remove_site(struct people *people)
{
	struct federation *f = people->f;
	struct puppet *site = &f->sites[throw_dice(f, SITES)];
	struct rounds_error error = { 0 };
	int64_t back = f->now + between(f, MINUTE_US, HOUR_US);

	if (json_object_get(people->removed, site->name))
		return;
	assert_int_equal(auth_site_remove(f->auth, site->name, &error), 0);
	engine_site_gone(f->engine, site->name);
	puppet_forgets(f, site);
	site->doing = AWAY;
	site->next = back + SECOND_US;
	json_object_set_new(people->removed, site->name, json_integer(back));
}

/* What was paused or removed for a while. */
static void put_back(struct people *people)
{
	struct federation *f = people->f;
	struct rounds_error error = { 0 };
	const char *name;
	json_t *when;
	void *next;

	json_object_foreach_safe(people->paused, next, name, when)
	{
		if (json_integer_value(when) > f->now)
			continue;
		/* Its sites' removal may have ended it meanwhile. */
		if (engine_command(f->engine, name, COMMAND_RESUME, "ann", &error))
			assert_int_equal(error.kind, ERROR_CONFLICT);
		json_object_del(people->paused, name);
	}
	json_object_foreach_safe(people->removed, next, name, when)
	{
		if (json_integer_value(when) > f->now)
			continue;
		federation_write(f, admit, (void *)(uintptr_t)name);
		json_object_del(people->removed, name);
	}
}

static void people_act(struct people *people, bool submits)
{
	struct federation *f = people->f;
	uint64_t dice = throw_dice(f, 100);

	put_back(people);
	if (f->now < people->next)
		return;
	people->next = f->now + between(f, 2 * MINUTE_US, 40 * MINUTE_US);
	f->outage = f->outage ? throw_dice(f, 6) != 0 : throw_dice(f, 30) == 0;
	if (dice < 55 && submits)
		submit(people);
	else if (dice < 63)
		command(people, COMMAND_PAUSE);
	else if (dice < 66)
		command(people, COMMAND_ABORT);
	else if (dice < 71)
		skip_silent(people);
	else if (dice < 80)
		ask_for_proof(people);
	else if (dice < 84)
		remove_site(people);
	else if (dice < 88)
		f->world.wall += between(f, -30 * MINUTE_US, 30 * MINUTE_US);
	else if (dice < 93)
		federation_restart(f, false);
	else if (dice < 96)
		federation_restart(f, true);
	check_secrets(people);
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
	json_auto_t *open = choose_row(
		f, "SELECT 1 AS one FROM job WHERE state NOT IN ('completed', 'failed', 'aborted') LIMIT 1");

	for (size_t to = 0; to < RECEIVERS; to++)
		if (f->letters[to].receiver)
			return false;
	return !open;
}

struct day {
	struct digest digest;
	size_t steps, jobs, completed, events;
	double seconds;
};

static size_t count_of(struct federation *f, const char *sql)
{
	json_auto_t *row = choose_row(f, sql);

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
	day.seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
	printf("%zu jobs, %zu completed, %zu events, %zu steps; %zu results in, %zu of them twice, %zu late, %zu refused; "
	       "%zu starts: %.2f s of the processor\n",
		day.jobs, day.completed, day.events, day.steps, json_object_size(f.accepted), f.repeated, f.late,
		f.refused, f.restarts, day.seconds);
	assert_true(f.repeated > 0 && f.late > 0 && f.refused > 0 && f.restarts > 0 && day.completed > 0);
	federation_end(&f);
	json_decref(people.paused);
	json_decref(people.removed);
	return day;
}

static void days(void **state)
{
	static const uint64_t seeds[] = { 1, 2, 3 };

	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		char name[20];

		snprintf(name, sizeof(name), "%zu", i);
		assert_int_equal(mkdir(in(state, name), 0700), 0);
		live(in(state, name), seeds[i]);
	}
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
