#include "server/audit/internal.h"

#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"
#include "server/store/audit_log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MINUTE_US     (60 * SECOND_US)
#define MARK_AFTER_US (3600 * SECOND_US)

/* The key is there, or is made. */
static int load_key(struct audit *audit, const char *directory, struct rounds_error *error)
{
	scoped(text_free) char *private_path = text_new("%s/audit.key", directory);
	scoped(text_free) char *public_path = text_new("%s/audit.pub", directory);
	size_t size;

	if (!private_path || !public_path)
		return error_no_memory(error);
	if (access(private_path, F_OK) != 0 &&
		(chain_key_new(&audit->private_pem, error) ||
			file_replace(private_path, audit->private_pem, strlen(audit->private_pem), 0600, error)))
		return -1;
	if (!audit->private_pem && file_read(private_path, 4096, &audit->private_pem, &size, error))
		return -1;
	if (chain_key_public(audit->private_pem, &audit->public_pem, error))
		return error_prefix(error, "%s", private_path);
	return file_replace(public_path, audit->public_pem, strlen(audit->public_pem), 0644, error);
}

/* From the newest checkpoint on, whose signature must be ours. */
static int check_end(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct audit *audit = argument;
	json_auto_t *rows = NULL;
	struct checkpoint mark;
	struct chain_head head, at, found;
	size_t i;
	json_t *row;

	if (audit_log_last_mark(tx, &mark, error) || audit_log_head(tx, &head, error) ||
		(mark.head.length && checkpoint_check(AUDIT_CHAIN, audit->public_pem, &mark, error)) ||
		audit_log_link(tx, mark.head.length, &at, error) ||
		audit_log_read(tx, mark.head.length, 10 * MARK_EVERY, &rows, error))
		return -1;
	if (mark.head.length && !digest_equal(&at.link, &mark.head.link))
		return error_set(error, ERROR_CHECKSUM, "entry %lld is not the one that was signed",
			(long long)mark.head.length);
	json_array_foreach (rows, i, row) {
		chain_append(&at, json_text_or(row, "record", ""));
		if (!digest_parse(json_text_or(row, "link", ""), &found.link) ||
			!digest_equal(&found.link, &at.link) || json_integer_or(row, "n", 0) != at.length)
			return error_set(error, ERROR_CHECKSUM, "entry %lld was changed, or is not there",
				(long long)at.length);
	}
	if (json_array_size(rows) < 10 * MARK_EVERY &&
		(head.length != at.length || !digest_equal(&head.link, &at.link)))
		return error_set(error, ERROR_CHECKSUM, "its end is cut off behind entry %lld", (long long)at.length);
	return 0;
}

int audit_open(struct store *store, struct world *world, const char *directory, struct audit **out,
	struct rounds_error *error)
{
	scoped(audit_close) struct audit *audit = calloc(1, sizeof(*audit));
	struct rounds_error fault = { 0 };

	if (!audit)
		return error_no_memory(error);
	pthread_mutex_init(&audit->lock, NULL);
	if (load_key(audit, directory, error))
		return -1;
	audit->store = store;
	audit->world = world;
	if (store_read(store, check_end, audit, &fault)) {
		snprintf(audit->fault, sizeof(audit->fault), "%s", fault.message);
		log_error("the audit log is not as it was signed", "reason", fault.message, NULL);
	}
	audit->marked_us = world_steady_us(audit->world);
	*out = audit;
	audit = NULL;
	return 0;
}

static void write_counted(struct audit *audit, int64_t before_us);

void audit_close(struct audit *audit)
{
	if (!audit)
		return;
	if (audit->store)
		write_counted(audit, INT64_MAX);
	pthread_mutex_destroy(&audit->lock);
	free(audit->private_pem);
	free(audit->public_pem);
	free(audit);
}

const char *audit_public_key(const struct audit *audit)
{
	return audit->public_pem;
}

static const char *outcome_of(int status)
{
	if (status == 401 || status == 403 || status == 429)
		return "refused";
	return status >= 400 ? "failed" : "done";
}

static json_t *text_or_null(const char *text)
{
	return text && *text ? json_text(text) : json_null();
}

/* A session has no name but its secret's digest, of which the beginning tells one from another. */
static json_t *credential_text(const char *credential)
{
	bool session = credential && !strncmp(credential, "session:", 8);

	return credential && *credential
		       ? json_text_n(credential, session && strlen(credential) > 20 ? 20 : strlen(credential))
		       : json_null();
}

static json_t *describe(const struct audit *audit, const struct audit_entry *entry, const char *kind, const char *id,
	const char *name)
{
	char time[TIME_TEXT_SIZE];
	json_t *record;

	time_format(world_wall_us(audit->world), time);
	record = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:n, s:n}", "kind", entry->kind, "time", time, "outcome",
		outcome_of(entry->status), "status", entry->status, "from", text_or_null(entry->from), "request",
		text_or_null(entry->request), "by", "about");
	if (entry->by && *entry->by)
		json_object_set_new(record, "by",
			json_pack("{s:o, s:o, s:o}", "name", json_text(entry->by), "role", text_or_null(entry->role),
				"credential", credential_text(entry->credential)));
	if (kind && *kind)
		json_object_set_new(record, "about",
			json_pack("{s:s, s:o, s:o}", "kind", kind, "id", json_text(id), "name", text_or_null(name)));
	if (entry->count)
		json_object_set_new(record, "count", json_integer(entry->count));
	return record;
}

/* Which jobs a blob belongs to is known now; once they are deleted, it is known here alone. */
static int add_uses(struct store_tx *tx, json_t *record, const char *kind, const char *id, struct rounds_error *error)
{
	json_t *uses = NULL;

	if (!kind || strcmp(kind, "digest") != 0)
		return 0;
	return audit_log_uses(tx, id, &uses, error) || json_object_set_new(record, "uses", uses) ? -1 : 0;
}

int audit_append(
	struct store_tx *tx, struct audit *audit, const struct audit_entry *entry, struct rounds_error *error)
{
	const struct store_subject *subject = store_subject(tx);
	bool given = entry->about_kind != NULL;
	const char *kind = given ? entry->about_kind : subject->kind, *id = given ? entry->about_id : subject->id;
	json_auto_t *record = describe(
		audit, entry, kind, id, given && strcmp(id, subject->id) != 0 ? "" : subject->name);
	const struct audit_row row = { entry->kind, entry->by && *entry->by ? entry->by : NULL, *kind ? id : NULL,
		outcome_of(entry->status), record };
	struct checkpoint checkpoint;
	struct chain_head head;

	if (!record)
		return error_no_memory(error);
	if (add_uses(tx, record, kind, id, error) || audit_log_append(tx, &row, &head, error))
		return -1;
	return head.length % MARK_EVERY == 0 ? audit_mark(tx, audit, &checkpoint, error) : 0;
}

struct writing {
	struct audit *audit;
	const struct audit_entry *entry;
};

static int write_one(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct writing *writing = argument;

	return audit_append(tx, writing->audit, writing->entry, error);
}

int audit_record(struct audit *audit, const struct audit_entry *entry, struct rounds_error *error)
{
	struct writing writing = { audit, entry };

	if (!store_write(audit->store, write_one, &writing, error))
		return 0;
	pthread_mutex_lock(&audit->lock);
	audit->unrecorded++;
	pthread_mutex_unlock(&audit->lock);
	return -1;
}

struct counted {
	struct audit *audit;
	struct tally due[TALLIES];
	size_t count;
	uint64_t unrecorded;
};

static void counted_free(struct counted *counted)
{
	free(counted);
}
DEFINE_CLEANUP(struct counted *, counted_free);

static int write_tallies(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct counted *counted = argument;
	const struct audit_entry gap = { .kind = "audit.gap", .status = 507, .count = (int64_t)counted->unrecorded };

	for (size_t i = 0; i < counted->count; i++) {
		const struct tally *tally = &counted->due[i];
		const struct audit_entry entry = { .kind = tally->kind,
			.by = tally->by,
			.role = tally->role,
			.from = tally->from,
			.status = tally->status,
			.count = tally->count };

		if (audit_append(tx, counted->audit, &entry, error))
			return -1;
	}
	return counted->unrecorded ? audit_append(tx, counted->audit, &gap, error) : 0;
}

static void write_counted(struct audit *audit, int64_t before_us)
{
	scoped(counted_free) struct counted *counted = calloc(1, sizeof(*counted));
	struct rounds_error error = { 0 };

	if (!counted)
		return;
	counted->audit = audit;
	counted->count = tallies_take(audit, before_us, counted->due);
	pthread_mutex_lock(&audit->lock);
	counted->unrecorded = audit->unrecorded;
	pthread_mutex_unlock(&audit->lock);
	if (!counted->count && !counted->unrecorded)
		return;
	if (store_write(audit->store, write_tallies, counted, &error)) {
		tallies_return(audit, counted->due, counted->count);
		return;
	}
	pthread_mutex_lock(&audit->lock);
	audit->unrecorded -= counted->unrecorded;
	pthread_mutex_unlock(&audit->lock);
}

static int mark_now(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct checkpoint checkpoint;

	return audit_mark(tx, argument, &checkpoint, error);
}

void audit_tick(struct audit *audit)
{
	struct rounds_error error = { 0 };

	write_counted(audit, world_wall_us(audit->world) - MINUTE_US);
	if (world_steady_us(audit->world) - audit->marked_us < MARK_AFTER_US)
		return;
	audit->marked_us = world_steady_us(audit->world);
	if (store_write(audit->store, mark_now, audit, &error))
		log_warn("the audit log is not signed", "reason", error.message, NULL);
}
