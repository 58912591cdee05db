#include "server/store/blob_index.h"

#include "common/clock.h"
#include "server/store/db.h"
#include "server/store/dialect.h"

int blob_index_add(
	struct store_tx *tx, const char *digest, uint64_t size, const char *owner, struct rounds_error *error)
{
	if (db_run(tx, error,
		    "INSERT INTO blob(digest, size, created_us) VALUES(?1, ?2, ?3)"
		    " ON CONFLICT (digest) DO UPDATE SET created_us = excluded.created_us, used = 0, doomed = 0",
		    "sii", digest, (int64_t)size, db_wall_us(tx)))
		return -1;
	return owner ? db_run(tx, error,
			       "INSERT INTO blob_owner(digest, owner) VALUES(?1, ?2) ON CONFLICT DO NOTHING", "ss",
			       digest, owner)
		     : 0;
}

int blob_index_find(struct store_tx *tx, const char *digest, json_t **blob, struct rounds_error *error)
{
	return db_first(tx, error, blob,
		"SELECT digest, size, created_us AS \"created:time\" FROM blob WHERE digest = ?1 AND NOT doomed", "s",
		digest);
}

int blob_index_need(struct store_tx *tx, const char *digest, struct rounds_error *error)
{
	int64_t count;

	if (db_integer(
		    tx, error, 0, &count, "SELECT count(*) FROM blob WHERE digest = ?1 AND NOT doomed", "s", digest))
		return -1;
	return count ? 0
		     : error_set(error, ERROR_BLOB_MISSING, "the weights are not there any more; upload them again");
}

int blob_index_knows(struct store_tx *tx, const char *digest, bool *known, struct rounds_error *error)
{
	int64_t count;

	if (db_integer(tx, error, 0, &count, "SELECT count(*) FROM blob WHERE digest = ?1", "s", digest))
		return -1;
	*known = count > 0;
	return 0;
}

int blob_index_forget(struct store_tx *tx, const char *digest, struct rounds_error *error)
{
	return db_run(tx, error, "DELETE FROM blob WHERE digest = ?1 AND doomed", "s", digest);
}

int blob_index_owned(
	struct store_tx *tx, const char *digest, const char *owner, bool *owned, struct rounds_error *error)
{
	int64_t count;

	if (db_integer(tx, error, 0, &count,
		    "SELECT count(*) FROM blob_owner JOIN blob USING(digest)"
		    " WHERE digest = ?1 AND owner = ?2 AND NOT doomed",
		    "ss", digest, owner))
		return -1;
	*owned = count > 0;
	return 0;
}

int blob_index_list(struct store_tx *tx, json_t **blobs, struct rounds_error *error)
{
	return db_rows(tx, error, blobs, "SELECT digest FROM blob WHERE NOT doomed", "");
}

int blob_use(struct store_tx *tx, const char *job, const char *digest, const char *role, int64_t round,
	struct rounds_error *error)
{
	if (db_run(tx, error, "UPDATE blob SET used = 1 WHERE digest = ?1", "s", digest))
		return -1;
	return db_run(tx, error,
		"INSERT INTO blob_use(job, digest, role, round) VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
		"sssi", job, digest, role, round);
}

int blob_unuse(
	struct store_tx *tx, const char *job, const char *role, int64_t before_round, struct rounds_error *error)
{
	if (before_round <= 0)
		return 0;
	return db_run(tx, error, "DELETE FROM blob_use WHERE job = ?1 AND role = ?2 AND round < ?3", "ssi", job, role,
		before_round);
}

int blob_unuse_tasks(struct store_tx *tx, const char *job, struct rounds_error *error)
{
	return db_run(tx, error,
		"DELETE FROM blob_use WHERE job = ?1 AND role = 'task' AND round NOT IN (SELECT round FROM task" BY_INDEX(
			task_open_by_job) "WHERE job = ?1 AND state IN ('pending', 'leased'))",
		"s", job);
}

int blob_uses(struct store_tx *tx, const char *job, json_t **uses, struct rounds_error *error)
{
	return db_rows(tx, error, uses,
		"SELECT blob_use.digest, role, round, size FROM blob_use LEFT JOIN blob USING(digest) WHERE job = ?1"
		" AND role NOT IN ('task', 'update') ORDER BY round, role",
		"s", job);
}

int blob_index_doom(struct store_tx *tx, int64_t before_us, int64_t people_before_us, struct rounds_error *error)
{
	return db_run(tx, error,
		"UPDATE blob SET doomed = 1 WHERE NOT doomed AND (used OR created_us < CASE WHEN EXISTS(SELECT 1 FROM blob_owner"
		" WHERE blob_owner.digest = blob.digest AND owner LIKE 'person:%') THEN ?2 ELSE ?1 END)"
		" AND NOT EXISTS(SELECT 1 FROM blob_use WHERE blob_use.digest = blob.digest)",
		"ii", before_us, people_before_us);
}

int blob_index_doomed(struct store_tx *tx, json_t **blobs, struct rounds_error *error)
{
	return db_rows(tx, error, blobs, "SELECT digest FROM blob WHERE doomed LIMIT 500", "");
}

int upload_insert(struct store_tx *tx, const struct new_upload *upload, struct rounds_error *error)
{
	store_about(tx, "upload", upload->id, "");
	return db_run(tx, error,
		"INSERT INTO upload(id, owner, length, digest, metadata, created_us, expires_us)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		"ssissii", upload->id, upload->owner, (int64_t)upload->length, upload->digest, upload->metadata,
		db_wall_us(tx), upload->expires_us);
}

int upload_find(struct store_tx *tx, const char *id, const char *owner, json_t **upload, struct rounds_error *error)
{
	if (db_first(tx, error, upload,
		    "SELECT id, length, digest, metadata, blob, expires_us FROM upload WHERE id = ?1 AND owner = ?2",
		    "ss", id, owner))
		return -1;
	return *upload ? 0 : error_set(error, ERROR_NOT_FOUND, "there is no such upload");
}

int upload_finish(struct store_tx *tx, const char *id, const char *blob, struct rounds_error *error)
{
	return db_run(tx, error, "UPDATE upload SET blob = ?2, expires_us = ?3 WHERE id = ?1", "ssi", id, blob,
		db_wall_us(tx) + 600 * SECOND_US);
}

int upload_delete(struct store_tx *tx, const char *id, struct rounds_error *error)
{
	return db_run(tx, error, "DELETE FROM upload WHERE id = ?1", "s", id);
}

int upload_list_expired(struct store_tx *tx, json_t **uploads, struct rounds_error *error)
{
	return db_rows(
		tx, error, uploads, "SELECT id FROM upload WHERE expires_us < ?1 LIMIT 500", "i", db_wall_us(tx));
}

int upload_list(struct store_tx *tx, json_t **uploads, struct rounds_error *error)
{
	return db_rows(tx, error, uploads, "SELECT id, owner, length, blob FROM upload", "");
}

int owner_loads(struct store_tx *tx, const char *owner, json_t **loads, struct rounds_error *error)
{
	return db_rows(tx, error, loads,
		"SELECT owner, sum(open) AS uploads, sum(open * bytes) AS announced_bytes,"
		" sum(1 - open) AS unused_blobs, sum((1 - open) * bytes) AS unused_bytes FROM"
		" (SELECT owner, 1 AS open, length AS bytes FROM upload WHERE blob IS NULL"
		" UNION ALL SELECT owner, 0, size FROM blob_owner JOIN blob USING(digest) WHERE used = 0 AND NOT doomed"
		" AND NOT EXISTS(SELECT 1 FROM blob_use WHERE blob_use.digest = blob.digest))"
		" WHERE ?1 IS NULL OR owner = ?1 GROUP BY owner ORDER BY owner",
		"s", owner);
}
