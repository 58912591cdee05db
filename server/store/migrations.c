#include "server/store/migrations.h"

#include "server/store/db.h"

#include <stdio.h>

/* A column of digests, that migration 4 replaces, as an entry of files by name. */
#define MODEL_FILE "'model', json_object('digest', model, 'size', (SELECT size FROM blob WHERE digest = task.model))"
#define CONTROL_FILE                                                                                                 \
	"'control', json_object('digest', control, 'size', (SELECT size FROM blob WHERE digest = task.control))"
#define UPDATE_FILE                                                                                                  \
	"'update', json_object('digest', update_digest,"                                                             \
	" 'size', (SELECT size FROM blob WHERE digest = task.update_digest))"

/*
 * Times ending in _us are wall time in microseconds; `due` and `lease_due` are steady time of the boot named in
 * `setting`, and are granted anew when the machine has booted since.
 */
static const char *const migrations[] = {
	/* 1 */
	"CREATE TABLE setting(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE TABLE project(name TEXT PRIMARY KEY, created_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE TABLE token(id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,"
	" created_us INTEGER NOT NULL, expires_us INTEGER, used_us INTEGER) STRICT, WITHOUT ROWID;"

	"CREATE TABLE invitation(hash TEXT PRIMARY KEY, site TEXT NOT NULL, created_us INTEGER NOT NULL,"
	" expires_us INTEGER NOT NULL, used_us INTEGER) STRICT, WITHOUT ROWID;"

	"CREATE TABLE site(name TEXT PRIMARY KEY, state TEXT NOT NULL, serial TEXT NOT NULL, created_us INTEGER NOT "
	"NULL,"
	" expires_us INTEGER NOT NULL, seen_us INTEGER, version TEXT, slots INTEGER NOT NULL DEFAULT 1,"
	" datasets TEXT NOT NULL DEFAULT '[]', executors TEXT NOT NULL DEFAULT '[]') STRICT, WITHOUT ROWID;"

	"CREATE TABLE job(id TEXT PRIMARY KEY, project TEXT NOT NULL REFERENCES project(name), name TEXT NOT NULL,"
	" workflow TEXT NOT NULL, state TEXT NOT NULL, priority INTEGER NOT NULL, spec TEXT NOT NULL,"
	" progress TEXT NOT NULL DEFAULT '{}', reason TEXT, held INTEGER NOT NULL DEFAULT 0, model TEXT, best TEXT,"
	" best_round INTEGER, round INTEGER NOT NULL DEFAULT 0, rounds INTEGER NOT NULL DEFAULT 0,"
	" version INTEGER NOT NULL DEFAULT 1, submitted_by TEXT NOT NULL, idempotency_key TEXT, created_us INTEGER "
	"NOT NULL,"
	" started_us INTEGER, finished_us INTEGER, paused_at INTEGER, UNIQUE(submitted_by, idempotency_key))"
	" STRICT, WITHOUT ROWID;"
	"CREATE INDEX job_by_state ON job(state, priority DESC, id);"

	/* The slot that a running or paused job takes at each of its sites. */
	"CREATE TABLE job_site(job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, site TEXT NOT NULL,"
	" PRIMARY KEY(job, site)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX job_site_by_site ON job_site(site);"

	"CREATE TABLE task(id TEXT PRIMARY KEY, job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE,"
	" round INTEGER NOT NULL, kind TEXT NOT NULL, site TEXT NOT NULL, state TEXT NOT NULL, model TEXT,"
	" control TEXT, algorithm TEXT,"
	" lease_us INTEGER NOT NULL, lease_due INTEGER, attempts INTEGER NOT NULL DEFAULT 0,"
	" failures INTEGER NOT NULL DEFAULT 0, stage TEXT, fraction REAL, result TEXT, update_digest TEXT, weight "
	"REAL,"
	" metrics TEXT, reason TEXT, created_us INTEGER NOT NULL, leased_us INTEGER, finished_us INTEGER,"
	" UNIQUE(job, round, kind, site)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX task_open ON task(site, state) WHERE state IN ('pending', 'leased');"
	"CREATE INDEX task_open_by_job ON task(job, round) WHERE state IN ('pending', 'leased');"
	"CREATE INDEX task_leased ON task(lease_due) WHERE state = 'leased';"

	"CREATE TABLE round(job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, number INTEGER NOT NULL,"
	" state TEXT NOT NULL, how TEXT, kind TEXT, model_in TEXT, model TEXT, manifest TEXT, manifest_digest "
	"TEXT,"
	" started_us INTEGER NOT NULL, aggregating_us INTEGER, finished_us INTEGER, PRIMARY KEY(job, number))"
	" STRICT, WITHOUT ROWID;"
	"CREATE INDEX round_aggregating ON round(job, number) WHERE state = 'aggregating';"

	"CREATE TABLE timer(job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, name TEXT NOT NULL,"
	" after_us INTEGER NOT NULL, due INTEGER NOT NULL, PRIMARY KEY(job, name)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX timer_due ON timer(due);"

	"CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL REFERENCES job(id) ON DELETE "
	"CASCADE,"
	" time_us INTEGER NOT NULL, kind TEXT NOT NULL, round INTEGER, site TEXT, message TEXT NOT NULL, data TEXT) "
	"STRICT;"
	"CREATE INDEX event_by_job ON event(job, id);"
	"CREATE INDEX event_by_round ON event(job, round);"
	"CREATE INDEX event_said_once ON event(job, message) WHERE kind = 'metric_missing';"

	"CREATE TABLE metric(job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, round INTEGER NOT NULL,"
	" site TEXT NOT NULL, name TEXT NOT NULL, value REAL, PRIMARY KEY(job, round, site, name)) STRICT, WITHOUT "
	"ROWID;"

	/* Which blobs are needed and by what; a blob that no row names is removed by the sweep. */
	"CREATE TABLE blob(digest TEXT PRIMARY KEY, size INTEGER NOT NULL, created_us INTEGER NOT NULL,"
	" used INTEGER NOT NULL DEFAULT 0)"
	" STRICT, WITHOUT ROWID;"
	"CREATE TABLE blob_owner(digest TEXT NOT NULL REFERENCES blob(digest) ON DELETE CASCADE, owner TEXT NOT NULL,"
	" PRIMARY KEY(digest, owner)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE blob_use(job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, digest TEXT NOT NULL,"
	" role TEXT NOT NULL, round INTEGER NOT NULL, PRIMARY KEY(job, role, round, digest)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX blob_use_by_digest ON blob_use(digest);"

	"CREATE TABLE upload(id TEXT PRIMARY KEY, owner TEXT NOT NULL, length INTEGER NOT NULL, digest TEXT, "
	"metadata TEXT,"
	" blob TEXT, created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE TABLE verification(id TEXT PRIMARY KEY, job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE,"
	" state TEXT NOT NULL, report TEXT, created_us INTEGER NOT NULL, finished_us INTEGER) STRICT, WITHOUT ROWID;"

	"INSERT INTO project VALUES('default', 0);",

	/* 2: people, their browser sessions; what a round's time went into; where a trace began */
	"CREATE TABLE user(name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT, setup_hash TEXT UNIQUE,"
	" setup_expires_us INTEGER, created_us INTEGER NOT NULL, signed_in_us INTEGER) STRICT, WITHOUT ROWID;"

	"CREATE TABLE session(hash TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES user(name) ON DELETE CASCADE,"
	" created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE INDEX event_notable ON event(id) WHERE kind NOT IN"
	" ('task_leased', 'result', 'round_started', 'aggregating', 'aggregated');"

	"ALTER TABLE task ADD COLUMN timings TEXT;"
	"ALTER TABLE job ADD COLUMN trace TEXT; UPDATE job SET trace = replace(id, '-', '');"
	"ALTER TABLE site ADD COLUMN rtt_us INTEGER;"
	"ALTER TABLE site ADD COLUMN received_bytes INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE site ADD COLUMN sent_bytes INTEGER NOT NULL DEFAULT 0;",

	/* 3: webhooks (`place` is the last event that was taken); log lines of sites, which are routine; certificates that renew
	 * themselves */
	"DROP INDEX event_notable;"
	"CREATE INDEX event_notable ON event(id) WHERE kind NOT IN"
	" ('task_leased', 'result', 'round_started', 'aggregating', 'aggregated', 'log');"
	"CREATE INDEX event_log ON event(job, round, site) WHERE kind = 'log';"
	"ALTER TABLE site ADD COLUMN old_serial TEXT;" /* of the certificate that the present one was renewed with */
	"CREATE TABLE webhook(id TEXT PRIMARY KEY, url TEXT NOT NULL, secret TEXT NOT NULL, kinds TEXT NOT NULL,"
	" state TEXT NOT NULL, reason TEXT, created_us INTEGER NOT NULL, created_by TEXT NOT NULL,"
	" place INTEGER NOT NULL, deliveries INTEGER NOT NULL DEFAULT 0, delivered_us INTEGER,"
	" failures INTEGER NOT NULL DEFAULT 0, failing_us INTEGER,"
	" tried_us INTEGER, tried_status INTEGER, tried_fault TEXT) STRICT, WITHOUT ROWID;",

	/* 4 */
	/* What an owner has brought that nothing uses yet is counted with each upload. */
	"CREATE INDEX blob_unused ON blob(created_us) WHERE used = 0;"
	/* A blob goes in steps: doomed, its file removed, forgotten. */
	"ALTER TABLE blob ADD COLUMN doomed INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX blob_doomed ON blob(digest) WHERE doomed;"
	/* What a site speaks, and what it tells of its datasets. */
	"ALTER TABLE site ADD COLUMN protocol INTEGER;"
	"ALTER TABLE site ADD COLUMN tables TEXT;"
	/* It drains, and what it had to do was called off. */
	"ALTER TABLE site ADD COLUMN called_off INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX site_called_off ON site(name) WHERE called_off;"
	"CREATE INDEX site_removed ON site(name) WHERE state = 'removed';"
	/* What sites say of their keys: statements in hexadecimal digits (common/seal/site_keys.h), one upon the other. */
	"CREATE TABLE site_keys(site TEXT NOT NULL REFERENCES site(name) ON DELETE CASCADE, generation INTEGER NOT NULL,"
	" statement TEXT NOT NULL, told_us INTEGER NOT NULL, PRIMARY KEY(site, generation)) STRICT, WITHOUT ROWID;"
	/* How many sites a job waits for, fixed when it was submitted, and what was odd about it then. */
	"ALTER TABLE job ADD COLUMN min_sites INTEGER;"
	"ALTER TABLE job ADD COLUMN warnings TEXT;"
	"ALTER TABLE job ADD COLUMN takes_late INTEGER NOT NULL DEFAULT 0;"
	/* {"ignore": [column], "categories": [column]}: what of the columns that the job names a site has told not to have. */
	"CREATE TABLE job_lacks(job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, site TEXT NOT NULL,"
	" lacks TEXT NOT NULL, PRIMARY KEY(job, site)) STRICT, WITHOUT ROWID;"
	/* What the last proof of a completed job's lineage found. */
	"ALTER TABLE job ADD COLUMN verified INTEGER;"
	"CREATE INDEX job_unverified ON job(id) WHERE state = 'completed' AND verified IS NULL;"
	"CREATE INDEX job_broken ON job(id) WHERE verified = 0;"
	/* Invitations that can be listed and taken back. */
	"ALTER TABLE invitation ADD COLUMN id TEXT; UPDATE invitation SET id = lower(hex(randomblob(16)));"
	"CREATE UNIQUE INDEX invitation_by_id ON invitation(id);"
	"ALTER TABLE invitation ADD COLUMN made_by TEXT;"
	"ALTER TABLE invitation ADD COLUMN replaces INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE invitation ADD COLUMN voided_us INTEGER;"
	/* Whom a token names as its maker, and the account whose rights it ends with. */
	"ALTER TABLE token ADD COLUMN made_by TEXT;"
	"ALTER TABLE token ADD COLUMN account TEXT;"
	"CREATE INDEX token_by_account ON token(account) WHERE account IS NOT NULL;"
	/* What workflows keep is written with every commit that moves the job: apart from the job's row, which may be long. */
	"CREATE TABLE job_progress(job TEXT PRIMARY KEY REFERENCES job(id) ON DELETE CASCADE, progress TEXT NOT NULL)"
	" STRICT, WITHOUT ROWID;"
	"INSERT INTO job_progress SELECT id, progress FROM job WHERE progress <> '{}';"
	"ALTER TABLE job DROP COLUMN progress;"
	/* Lists of jobs are found in these without the jobs' rows. */
	"CREATE INDEX job_listed_by_id ON job(id, state, project, name);"
	"CREATE INDEX job_listed_by_name ON job(name, id, state, project);"
	"CREATE INDEX job_listed_by_state ON job(state, id, project, name);"
	"CREATE INDEX job_listed_by_priority ON job(priority, id, state, project, name);"
	"CREATE INDEX job_listed_by_workflow ON job(workflow, id, state, project, name);"
	"CREATE INDEX job_listed_by_finish ON job(coalesce(finished_us, 0), id, state, project, name);"
	/* What failed and where, as the site told it; a task rests before it is tried again (`not_before`: steady time). */
	"ALTER TABLE task ADD COLUMN failure TEXT;"
	"CREATE INDEX task_told_failure ON task(job) WHERE failure IS NOT NULL;"
	"ALTER TABLE task ADD COLUMN not_before INTEGER;"
	"ALTER TABLE task ADD COLUMN heard INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX task_resting ON task(not_before) WHERE not_before IS NOT NULL;"
	/* What a task is given and what its result brings, by name, instead of a column for each. */
	"ALTER TABLE task ADD COLUMN files TEXT NOT NULL DEFAULT '{}';"
	"ALTER TABLE task ADD COLUMN result_files TEXT;"
	"UPDATE task SET files = CASE WHEN control IS NULL THEN json_object(" MODEL_FILE
	") ELSE json_object(" CONTROL_FILE ", " MODEL_FILE ") END WHERE model IS NOT NULL;"
	"UPDATE task SET result_files = json_object(" UPDATE_FILE ") WHERE update_digest IS NOT NULL;"
	"ALTER TABLE task DROP COLUMN model; ALTER TABLE task DROP COLUMN control;"
	"ALTER TABLE task DROP COLUMN update_digest;"
	/* What happened, for longer than what it happened to: rows that nothing changes and nothing deletes. */
	"CREATE TABLE audit(n INTEGER PRIMARY KEY, kind TEXT NOT NULL, made_by TEXT, about TEXT, outcome TEXT NOT NULL,"
	" record TEXT NOT NULL, link TEXT NOT NULL) STRICT;"
	"CREATE INDEX audit_by_about ON audit(about, n);"
	"CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit log only grows'); END;"
	"CREATE TRIGGER audit_is_as_it_was BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit log only grows');"
	" END;"
	"CREATE TABLE audit_head(id INTEGER PRIMARY KEY CHECK (id = 1), length INTEGER NOT NULL, link TEXT NOT NULL) STRICT;"
	"CREATE TABLE audit_checkpoint(length INTEGER PRIMARY KEY, link TEXT NOT NULL, time TEXT NOT NULL,"
	" signature TEXT NOT NULL) STRICT;",
};

enum { NEWEST = sizeof(migrations) / sizeof(migrations[0]) };

int migrations_apply(struct store_tx *tx, struct rounds_error *error)
{
	char version_sql[64];
	int64_t version;

	if (db_execute(tx, "BEGIN IMMEDIATE", error))
		return -1;
	if (db_integer(tx, error, 0, &version, "PRAGMA user_version", ""))
		goto undo;
	if (version > NEWEST) {
		error_set(error, ERROR_CONFLICT,
			"the database is version %lld, this program knows versions up to %d: install a newer "
			"rounds-server",
			(long long)version, NEWEST);
		goto undo;
	}
	for (; version < NEWEST; version++)
		if (db_execute(tx, migrations[version], error))
			goto undo;
	snprintf(version_sql, sizeof(version_sql), "PRAGMA user_version = %d; COMMIT", NEWEST);
	if (!db_execute(tx, version_sql, error))
		return 0;
undo:
	db_execute(tx, "ROLLBACK", NULL);
	return -1;
}
