#include "tests/unit/server/people.h"

#include "server/auth/sites.h"
#include "server/store/db.h"
#include "server/store/invitations.h"

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

void people_begin(struct people *people, struct federation *f)
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

static void command(struct people *people, enum job_command what)
{
	json_auto_t *job = federation_row(
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
	json_auto_t *task = federation_row(people->f,
		"SELECT task.job, site FROM task JOIN job ON job.id = task.job WHERE"
		" task.state = 'pending' AND job.state = 'running' ORDER BY task.id LIMIT 1");
	struct rounds_error error = { 0 };

	if (task && engine_skip(people->f->engine, json_text_or(task, "job", ""), json_text_or(task, "site", ""),
			    "ann", &error))
		fail_msg("%s", error.message);
}

static void ask_for_proof(struct people *people)
{
	json_auto_t *job = federation_row(
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
		federation_write(f, federation_admit, (void *)(uintptr_t)name);
		json_object_del(people->removed, name);
	}
}

void people_act(struct people *people, bool submits)
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

void people_end(struct people *people)
{
	json_decref(people->paused);
	json_decref(people->removed);
}
