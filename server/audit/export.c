/* The log as others read it: its state, and exports that prove themselves. */
#include "server/audit/internal.h"

#include "common/json.h"
#include "common/log.h"
#include "server/store/audit_log.h"

#include <stdio.h>

int audit_mark(struct store_tx *tx, struct audit *audit, struct checkpoint *checkpoint, struct rounds_error *error)
{
	char link[DIGEST_TEXT_SIZE], length[24];

	*checkpoint = (struct checkpoint){ 0 };
	if (audit_log_head(tx, &checkpoint->head, error) ||
		checkpoint_sign(AUDIT_CHAIN, audit->private_pem, world_wall_us(audit->world), checkpoint, error) ||
		audit_log_mark(tx, checkpoint, error))
		return -1;
	/* In the server's log, too, which often goes to another machine. */
	digest_format(&checkpoint->head.link, link);
	snprintf(length, sizeof(length), "%lld", (long long)checkpoint->head.length);
	log_info("audit checkpoint", "length", length, "link", link, "signature", checkpoint->signature, NULL);
	return 0;
}

static json_t *pending(struct audit *audit, uint64_t *unrecorded)
{
	json_t *list = json_array();

	pthread_mutex_lock(&audit->lock);
	*unrecorded = audit->unrecorded;
	for (size_t i = 0; i < audit->tally_count; i++) {
		const struct tally *tally = &audit->tallies[i];
		char since[TIME_TEXT_SIZE];

		time_format(tally->since_us, since);
		json_array_append_new(
			list, json_pack("{s:s, s:o, s:i, s:I, s:s}", "kind", tally->kind, "by",
				      tally->by[0] ? json_text(tally->by) : json_null(), "status", tally->status,
				      "count", (json_int_t)tally->count, "since", since));
	}
	pthread_mutex_unlock(&audit->lock);
	return list;
}

static int read_head(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return audit_log_head(tx, argument, error);
}

int audit_state(struct audit *audit, json_t **state, struct rounds_error *error)
{
	struct chain_head head;
	uint64_t unrecorded;
	json_t *list;

	if (store_read(audit->store, read_head, &head, error))
		return -1;
	list = pending(audit, &unrecorded);
	*state = json_pack("{s:I, s:b, s:I, s:s?, s:o}", "length", (json_int_t)head.length, "writable",
		unrecorded == 0, "unrecorded", (json_int_t)unrecorded, "fault", audit->fault[0] ? audit->fault : NULL,
		"pending", list);
	return *state ? 0 : error_no_memory(error);
}

struct exporting {
	struct audit *audit;
	int64_t after, limit;
	struct chain_head before;
	struct checkpoint last;
	json_t *rows;
};

static int mark_end(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct exporting *exporting = argument;

	return audit_mark(tx, exporting->audit, &exporting->last, error);
}

static int read_part(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct exporting *exporting = argument;

	chain_begin(AUDIT_CHAIN, &exporting->before);
	return audit_log_read(tx, exporting->after, exporting->limit, &exporting->rows, error);
}

static void put(FILE *out, char *line)
{
	if (line)
		fprintf(out, "%s\n", line);
	free(line);
}

/* What came behind the checkpoint meanwhile is for the next export. */
static void write_lines(const struct exporting *exporting, FILE *out)
{
	int64_t n = exporting->after;
	size_t i;
	json_t *row;

	if (exporting->after == 0)
		put(out, chain_line_begin(AUDIT_CHAIN, &exporting->before));
	json_array_foreach (exporting->rows, i, row) {
		n = json_integer_or(row, "n", 0);
		if (n > exporting->last.head.length)
			break;
		put(out, chain_line_record(n, json_text_or(row, "link", ""), json_text_or(row, "record", "")));
	}
	/* A part that is not full is the last: also where rows are not there that the signed head speaks of. */
	if (n >= exporting->last.head.length || (int64_t)json_array_size(exporting->rows) < exporting->limit)
		put(out, chain_line_checkpoint(&exporting->last));
}

int audit_export(struct audit *audit, int64_t after, int64_t limit, char **text, struct rounds_error *error)
{
	struct exporting exporting = { .audit = audit, .after = after, .limit = limit };
	size_t size;
	FILE *out;
	bool bad;

	if (store_write(audit->store, mark_end, &exporting, error) ||
		store_read(audit->store, read_part, &exporting, error))
		return -1;
	*text = NULL;
	out = open_memstream(text, &size);
	if (out)
		write_lines(&exporting, out);
	bad = !out || ferror(out);
	if (out && fclose(out) != 0)
		bad = true;
	json_decref(exporting.rows);
	if (!bad)
		return 0;
	free(*text);
	return error_no_memory(error);
}
