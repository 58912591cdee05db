/* Every row of the tables of states, against rows of the database: what is allowed moves, everything else changes nothing. */
#include "tests/unit/test.h"

#include "common/json.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/states.h"
#include "server/store/tasks.h"

#include <sqlite3.h>

struct moving {
	const struct machine *machine;
	const char *from; /* as the caller believes */
	int to;
	char id[40]; /* of the task */
};

static int make_rows(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct moving *moving = argument;
	json_auto_t *spec = json_pack("{s:s, s:s}", "name", "x", "workflow", "fedavg"), *tasks = NULL;
	struct new_job job = { .id = "j", .submitted_by = "me", .spec = spec, .rounds = 1 };
	struct new_task task = { .job = "j", .kind = "train", .site = "a", .round = 1, .lease_us = 1 };

	if (job_insert(tx, &job, error) || task_insert(tx, &task, error) || round_begin(tx, "j", 1, NULL, error) ||
		task_list(tx, "j", 1, &tasks, error))
		return -1;
	snprintf(moving->id, sizeof(moving->id), "%s", json_text_or(json_array_get(tasks, 0), "id", ""));
	return 0;
}

static int move(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct moving *moving = argument;
	const struct task_result result = { .weight = 1 };
	const struct task_change task = { .lease_due = 7, .failed = true, .reason = "why", .result = &result };
	const struct job_change job = { .reason = "why", .paused_at = 7 };
	const struct round_change round = { .kind = "train", .model = "m", .manifest_digest = "d" };

	if (moving->machine == &task_machine)
		return task_move(tx, moving->id, moving->from, (enum task_state)moving->to, &task, error);
	if (moving->machine == &job_machine)
		return job_move(tx, "j", moving->from, (enum job_state)moving->to, &job, error);
	return round_move(tx, "j", 1, moving->from, (enum round_state)moving->to, &round, error);
}

static void put(sqlite3 *db, const struct machine *machine, const char *name)
{
	char sql[100];

	snprintf(sql, sizeof(sql), "UPDATE %s SET state = '%s', reason = 'before'", machine->noun, name);
	if (machine == &round_machine)
		snprintf(sql, sizeof(sql), "UPDATE round SET state = '%s', model = 'before'", name);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void check(sqlite3 *db, const struct machine *machine, const char *name, bool moved)
{
	sqlite3_stmt *row;
	char sql[100];

	snprintf(sql, sizeof(sql), "SELECT state, %s FROM %s", machine == &round_machine ? "model" : "reason",
		machine->noun);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(row), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(row, 0), name);
	if (!moved)
		assert_string_equal((const char *)sqlite3_column_text(row, 1), "before");
	sqlite3_finalize(row);
}

/* The table walked: every state as the row's, every state as what the caller believes, every state as the goal. */
static void walk(struct store *store, sqlite3 *db, struct moving *moving)
{
	const struct machine *machine = moving->machine;
	struct rounds_error error = { 0 };

	for (int is = 0; is < machine->count; is++)
		for (int from = 0; from < machine->count; from++)
			for (int to = 0; to < machine->count; to++) {
				bool allowed = (machine->states[from].next & 1u << to) && is == from;

				put(db, machine, machine->states[is].name);
				moving->from = machine->states[from].name;
				moving->to = to;
				assert_int_equal(store_write(store, move, moving, &error), allowed ? 0 : -1);
				if (!allowed)
					assert_int_equal(error.kind, ERROR_CONFLICT);
				check(db, machine, machine->states[allowed ? to : is].name, allowed);
			}
}

static void rows_move_as_the_tables_say_and_no_other_way(void **state)
{
	static const struct machine *const machines[] = { &job_machine, &task_machine, &round_machine };
	struct moving moving = { 0 };
	struct store *store;
	struct rounds_error error = { 0 };
	sqlite3 *db;

	assert_int_equal(store_open(in(state, "db"), world_real(), &store, &error), 0);
	assert_int_equal(sqlite3_open(in(state, "db"), &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	assert_int_equal(store_write(store, make_rows, &moving, &error), 0);
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		moving.machine = machines[i];
		walk(store, db, &moving);
	}
	sqlite3_close(db);
	store_close(store);
}

static void what_stands_in_the_way_is_said(void **state)
{
	struct moving moving = { .machine = &job_machine, .from = "completed", .to = JOB_RUNNING };
	struct store *store;
	struct rounds_error error = { 0 };

	assert_int_equal(store_open(in(state, "db"), world_real(), &store, &error), 0);
	assert_int_equal(store_write(store, make_rows, &moving, &error), 0);
	assert_int_equal(store_write(store, move, &moving, &error), -1);
	assert_string_equal(error.message, "the job is completed; it cannot become running");
	moving.from = "running";
	moving.to = JOB_PAUSED;
	assert_int_equal(store_write(store, move, &moving, &error), -1);
	assert_string_equal(error.message, "the job is no longer running");
	store_close(store);
}

static void final_states_have_no_way_out(void **state)
{
	static const struct machine *const machines[] = { &job_machine, &task_machine, &round_machine };
	static const char *const final[] = { "completed", "failed", "aborted", "done", "cancelled" };

	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		for (int s = 0; s < machines[i]->count; s++) {
			bool named = false;

			for (size_t f = 0; f < ARRAY_SIZE(final); f++)
				named = named || !strcmp(final[f], machines[i]->states[s].name);
			assert_int_equal(state_is_final(machines[i], machines[i]->states[s].name), named);
		}
	assert_false(state_is_final(&job_machine, "unheard of"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit_test_in_directory(rows_move_as_the_tables_say_and_no_other_way),
		unit_test_in_directory(what_stands_in_the_way_is_said),
		cmocka_unit_test(final_states_have_no_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
