#include "server/store/audit_log.h"

#include "common/json.h"
#include "server/store/db.h"

#include <stdio.h>

/* *head is left as it was where the row says nothing. */
static int read_place(const json_t *row, struct chain_head *head, struct rounds_error *error)
{
	if (!row)
		return 0;
	head->length = json_integer_or(row, "length", 0);
	if (!digest_parse(json_text_or(row, "link", ""), &head->link))
		return error_set(error, ERROR_CHECKSUM, "the audit log's place after entry %lld cannot be read",
			(long long)head->length);
	return 0;
}

int audit_log_head(struct store_tx *tx, struct chain_head *head, struct rounds_error *error)
{
	json_auto_t *row = NULL;

	chain_begin(AUDIT_CHAIN, head);
	if (db_first(tx, error, &row, "SELECT length, link FROM audit_head", ""))
		return -1;
	return read_place(row, head, error);
}

int audit_log_append(
	struct store_tx *tx, const struct audit_row *row, struct chain_head *head, struct rounds_error *error)
{
	scoped(text_free) char *record = json_canonical(row->record);
	char link[DIGEST_TEXT_SIZE];

	if (!record)
		return error_no_memory(error);
	if (audit_log_head(tx, head, error))
		return -1;
	chain_append(head, record);
	digest_format(&head->link, link);
	if (db_run(tx, error,
		    "INSERT INTO audit(n, kind, made_by, about, outcome, record, link) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		    "issssss", head->length, row->kind, row->by, row->about, row->outcome, record, link))
		return -1;
	return db_run(tx, error,
		"INSERT INTO audit_head(id, length, link) VALUES(1, ?1, ?2)"
		" ON CONFLICT (id) DO UPDATE SET length = excluded.length, link = excluded.link",
		"is", head->length, link);
}

int audit_log_list(
	struct store_tx *tx, const struct audit_filter *filter, json_t **entries, struct rounds_error *error)
{
	return db_rows(tx, error, entries,
		"SELECT n, link, record AS \"record:json\" FROM audit WHERE n < ?1"
		" AND (?2 IS NULL OR kind = ?2 OR substr(kind, 1, length(?2)) = ?2)"
		" AND (?3 IS NULL OR made_by = ?3) AND (?4 IS NULL OR about = ?4) AND (?5 IS NULL OR outcome = ?5)"
		" ORDER BY n DESC LIMIT ?6",
		"issssi", filter->before, filter->kind, filter->by, filter->about, filter->outcome, filter->limit);
}

int audit_log_read(struct store_tx *tx, int64_t after, int64_t limit, json_t **entries, struct rounds_error *error)
{
	return db_rows(tx, error, entries, "SELECT n, link, record FROM audit WHERE n > ?1 ORDER BY n LIMIT ?2", "ii",
		after, limit);
}

int audit_log_link(struct store_tx *tx, int64_t n, struct chain_head *head, struct rounds_error *error)
{
	json_auto_t *row = NULL;

	chain_begin(AUDIT_CHAIN, head);
	if (n == 0)
		return 0;
	if (db_first(tx, error, &row, "SELECT n AS length, link FROM audit WHERE n = ?1", "i", n))
		return -1;
	if (!row)
		return error_set(error, ERROR_NOT_FOUND, "the audit log has no entry %lld", (long long)n);
	return read_place(row, head, error);
}

int audit_log_mark(struct store_tx *tx, const struct checkpoint *checkpoint, struct rounds_error *error)
{
	char link[DIGEST_TEXT_SIZE];

	digest_format(&checkpoint->head.link, link);
	return db_run(tx, error,
		"INSERT INTO audit_checkpoint(length, link, time, signature) VALUES(?1, ?2, ?3, ?4)"
		" ON CONFLICT (length) DO UPDATE SET time = excluded.time, signature = excluded.signature",
		"isss", checkpoint->head.length, link, checkpoint->time, checkpoint->signature);
}

int audit_log_last_mark(struct store_tx *tx, struct checkpoint *checkpoint, struct rounds_error *error)
{
	json_auto_t *row = NULL;

	*checkpoint = (struct checkpoint){ 0 };
	if (db_first(tx, error, &row,
		    "SELECT length, link, time, signature FROM audit_checkpoint ORDER BY length DESC LIMIT 1", ""))
		return -1;
	snprintf(checkpoint->time, sizeof(checkpoint->time), "%s", json_text_or(row, "time", ""));
	snprintf(checkpoint->signature, sizeof(checkpoint->signature), "%s", json_text_or(row, "signature", ""));
	return read_place(row, &checkpoint->head, error);
}

int audit_log_uses(struct store_tx *tx, const char *digest, json_t **uses, struct rounds_error *error)
{
	return db_rows(tx, error, uses,
		"SELECT job, role, round FROM blob_use WHERE digest = ?1 ORDER BY job LIMIT 5", "s", digest);
}
