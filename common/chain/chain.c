#include "common/chain/chain.h"

#include "common/json.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

void chain_begin(const char *name, struct chain_head *head)
{
	scoped(digest_stream_free) struct digest_stream *stream = digest_stream_new();

	*head = (struct chain_head){ 0 };
	if (!stream)
		abort(); /* a chain that begins nowhere would prove nothing */
	digest_stream_add(stream, "rounds chain 1\n", strlen("rounds chain 1\n"));
	digest_stream_add(stream, name, strlen(name));
	digest_stream_add(stream, "\n", 1);
	digest_stream_finish(stream, &head->link);
}

void chain_append(struct chain_head *head, const char *record)
{
	scoped(digest_stream_free) struct digest_stream *stream = digest_stream_new();
	char number[24];
	int size = snprintf(number, sizeof(number), "%lld\n", (long long)++head->length);

	if (!stream)
		abort();
	digest_stream_add(stream, head->link.bytes, DIGEST_SIZE);
	digest_stream_add(stream, number, (size_t)size);
	digest_stream_add(stream, record, strlen(record));
	digest_stream_finish(stream, &head->link);
}

char *chain_line_begin(const char *name, const struct chain_head *before)
{
	char link[DIGEST_TEXT_SIZE];

	digest_format(&before->link, link);
	return text_new("{\"after\":%lld,\"chain\":\"%s\",\"link\":\"%s\"}", (long long)before->length, name, link);
}

char *chain_line_record(int64_t n, const char *link, const char *record)
{
	return text_new("{\"link\":\"%s\",\"n\":%lld,\"record\":%s}", link, (long long)n, record);
}

char *chain_line_checkpoint(const struct checkpoint *checkpoint)
{
	char link[DIGEST_TEXT_SIZE];

	digest_format(&checkpoint->head.link, link);
	return text_new("{\"checkpoint\":{\"length\":%lld,\"link\":\"%s\",\"time\":\"%s\"},\"signature\":\"%s\"}",
		(long long)checkpoint->head.length, link, checkpoint->time, checkpoint->signature);
}

/* An export as it is read. */
struct reading {
	FILE *file;
	const char *name, *public_pem;
	const struct checkpoint *earlier; /* NULL: none, or met already */
	struct chain_head head;
	char *line;
	size_t room;
	json_t *value; /* of the line */
};

static void reading_end(struct reading *reading)
{
	json_decref(reading->value);
	free(reading->line);
}

/* Records are of people's names and ids: a line is short. */
enum { LINE_LIMIT = 1 << 20 };

static int changed(const struct reading *reading, struct rounds_error *error)
{
	return error_set(error, ERROR_CHECKSUM, "entry %lld, or the line in its place, was changed",
		(long long)reading->head.length + 1);
}

/* 1: a line is there, as value; 0: the end. Whatever is not the canonical text of its value was changed. */
static int next_line(struct reading *reading, struct rounds_error *error)
{
	ssize_t length = getline(&reading->line, &reading->room, reading->file);
	scoped(text_free) char *again = NULL;

	if (length <= 0)
		return 0;
	if (reading->line[length - 1] == '\n')
		reading->line[--length] = '\0';
	json_decref(reading->value);
	reading->value = NULL;
	if (length > LINE_LIMIT || json_parse(reading->line, (size_t)length, &reading->value, NULL) ||
		!(again = json_canonical(reading->value)) || strcmp(again, reading->line) != 0)
		return changed(reading, error);
	return 1;
}

static int meet_earlier(struct reading *reading, struct rounds_error *error)
{
	const struct checkpoint *earlier = reading->earlier;

	if (!earlier || earlier->head.length != reading->head.length)
		return 0;
	reading->earlier = NULL;
	if (digest_equal(&earlier->head.link, &reading->head.link))
		return 0;
	return error_set(error, ERROR_CHECKSUM,
		"up to entry %lld this is not the chain of which the earlier checkpoint is",
		(long long)reading->head.length);
}

static int read_begin(struct reading *reading, struct rounds_error *error)
{
	struct chain_head origin;

	if (next_line(reading, error) <= 0 || strcmp(json_text_or(reading->value, "chain", ""), reading->name) != 0 ||
		!digest_parse(json_text_or(reading->value, "link", ""), &reading->head.link))
		return error_set(error, ERROR_INVALID, "this is not an export of the chain \"%s\"", reading->name);
	reading->head.length = json_integer_or(reading->value, "after", -1);
	chain_begin(reading->name, &origin);
	if (reading->head.length < 0 ||
		(reading->head.length == 0 && !digest_equal(&origin.link, &reading->head.link)))
		return error_set(error, ERROR_CHECKSUM, "the first line was changed");
	return meet_earlier(reading, error);
}

static int read_record(struct reading *reading, struct rounds_error *error)
{
	scoped(text_free) char *record = json_canonical(json_object_get(reading->value, "record"));
	int64_t n = json_integer_or(reading->value, "n", -1), wanted = reading->head.length + 1;
	struct digest link;

	if (n > wanted)
		return error_set(error, ERROR_CHECKSUM, "entry %lld is not there: entry %lld follows entry %lld",
			(long long)wanted, (long long)n, (long long)wanted - 1);
	if (!record || n != wanted || !digest_parse(json_text_or(reading->value, "link", ""), &link))
		return changed(reading, error);
	chain_append(&reading->head, record);
	if (!digest_equal(&link, &reading->head.link))
		return error_set(error, ERROR_CHECKSUM, "entry %lld was changed", (long long)n);
	return meet_earlier(reading, error);
}

static int read_checkpoint(struct reading *reading, struct checkpoint *last, struct rounds_error *error)
{
	const json_t *signed_part = json_object_get(reading->value, "checkpoint");

	*last = (struct checkpoint){ .head.length = json_integer_or(signed_part, "length", -1) };
	snprintf(last->time, sizeof(last->time), "%s", json_text_or(signed_part, "time", ""));
	snprintf(last->signature, sizeof(last->signature), "%s", json_text_or(reading->value, "signature", ""));
	if (!digest_parse(json_text_or(signed_part, "link", ""), &last->head.link) ||
		checkpoint_check(reading->name, reading->public_pem, last, error))
		return error_set(error, ERROR_CHECKSUM,
			"the checkpoint behind entry %lld is not signed with this key, or was changed",
			(long long)reading->head.length);
	if (last->head.length > reading->head.length)
		return error_set(error, ERROR_CHECKSUM, "the end is cut off: entries %lld to %lld are not there",
			(long long)reading->head.length + 1, (long long)last->head.length);
	if (last->head.length < reading->head.length)
		return error_set(
			error, ERROR_CHECKSUM, "entries were put in after entry %lld", (long long)last->head.length);
	if (!digest_equal(&last->head.link, &reading->head.link))
		return error_set(error, ERROR_CHECKSUM,
			"the chain was made anew: it is not the one that was signed, up to entry %lld",
			(long long)last->head.length);
	return 0;
}

static int read_all(struct reading *reading, struct checkpoint *last, struct rounds_error *error)
{
	int state;

	if (read_begin(reading, error))
		return -1;
	while ((state = next_line(reading, error)) > 0 && json_object_get(reading->value, "record"))
		if (read_record(reading, error))
			return -1;
	if (state < 0)
		return -1;
	if (state == 0)
		return error_set(error, ERROR_CHECKSUM,
			"the end is cut off: no signed checkpoint stands behind entry %lld",
			(long long)reading->head.length);
	if (!json_object_get(reading->value, "checkpoint"))
		return changed(reading, error);
	if (read_checkpoint(reading, last, error))
		return -1;
	if (next_line(reading, error) != 0)
		return error_set(error, ERROR_CHECKSUM, "something stands behind the checkpoint");
	if (reading->earlier)
		return error_set(error, ERROR_CHECKSUM,
			"the end is cut off: the chain had %lld entries at the earlier checkpoint, and has %lld",
			(long long)reading->earlier->head.length, (long long)reading->head.length);
	return 0;
}

int chain_verify(FILE *export, const char *name, const char *public_pem, const struct checkpoint *earlier,
	struct checkpoint *last, struct rounds_error *error)
{
	struct reading reading = { .file = export, .name = name, .public_pem = public_pem, .earlier = earlier };
	int failed = read_all(&reading, last, error);

	reading_end(&reading);
	return failed;
}
