#include "client/tables/records.h"

#include "client/tables/source.h"
#include "common/failure.h"

#include <csv.h>
#include <string.h>
#include <strings.h>

/* A record of more bytes is a quotation mark that nobody closed. */
enum { ROOM = 65536, RECORD_LIMIT = 64 << 20, LINES_LOOKED_AT = 20 };

struct records {
	struct source *source;
	struct csv_parser parser;
	char delimiter;
	char text[ROOM]; /* what has been read */
	size_t from, size;
	size_t row, fed;        /* of the record under way; its bytes until now */
	bool ended, after_cr;   /* the text has; the last byte was a CR, so that an LF belongs to it */
	char *cells;            /* the fields of the record under way, each with a NUL behind it */
	size_t used, room;      /* of cells */
	size_t *starts;         /* where each begins */
	const char **fields;    /* the same as pointers, when the record is whole */
	size_t count, capacity; /* of the fields */
	bool whole, no_memory;
};

static void take_field(void *bytes, size_t size, void *context)
{
	struct records *records = context;

	if (records->used + size + 1 > records->room) {
		size_t room = 2 * (records->used + size + 1);
		char *cells = realloc(records->cells, room);

		records->no_memory |= !cells;
		if (!cells)
			return;
		records->cells = cells;
		records->room = room;
	}
	if (records->count == records->capacity) {
		size_t capacity = records->capacity ? 2 * records->capacity : 64;
		size_t *starts = realloc(records->starts, capacity * sizeof(*starts));
		const char **fields = realloc(records->fields, capacity * sizeof(*fields));

		records->starts = starts ? starts : records->starts;
		records->fields = fields ? fields : records->fields;
		records->no_memory |= !starts || !fields;
		if (!starts || !fields)
			return;
		records->capacity = capacity;
	}
	records->starts[records->count++] = records->used;
	if (size > 0)
		memcpy(records->cells + records->used, bytes, size);
	records->cells[records->used + size] = '\0';
	records->used += size + 1;
}

static void take_end(int terminator, void *context)
{
	struct records *records = context;

	(void)terminator;
	records->whole = true;
}

static int fill(struct records *records, struct rounds_error *error)
{
	records->from = 0;
	if (source_read(records->source, records->text, ROOM, &records->size, error)) {
		error->row = (int64_t)records->row;
		error->column = (int64_t)records->count + 1;
		return -1;
	}
	records->ended = records->size == 0;
	return 0;
}

/* Spreadsheets' own line before the header; false if there is none. */
static bool take_sep_line(struct records *records)
{
	const char *text = records->text;
	size_t quoted = records->size > 0 && text[0] == '"', end = quoted + 5 + quoted;

	if (records->size <= end || strncasecmp(text + quoted, "sep=", 4) != 0 || (quoted && text[end - 1] != '"') ||
		(text[end] != '\r' && text[end] != '\n'))
		return false;
	records->delimiter = text[quoted + 4];
	records->from = end + (text[end] == '\r' && end + 1 < records->size && text[end + 1] == '\n') + 1;
	return true;
}

/* How often `candidate` stands outside quotation marks in each of the first lines; returns how many lines. */
static size_t count_in_lines(const struct records *records, char candidate, size_t *counts)
{
	size_t lines = 0, at = records->from, begin = at;
	bool quoted = false;

	counts[0] = 0;
	for (; at < records->size && lines < LINES_LOOKED_AT; at++) {
		char c = records->text[at];

		quoted ^= c == '"';
		if (!quoted && c == candidate)
			counts[lines]++;
		if (quoted || (c != '\n' && c != '\r'))
			continue;
		if (at > begin && ++lines < LINES_LOOKED_AT)
			counts[lines] = 0;
		begin = at + 1;
	}
	/* The last line counts if it is whole, or the only one. */
	return lines > 0 ? lines : 1;
}

static int find_delimiter(struct records *records, struct rounds_error *error)
{
	static const char candidates[] = { ',', ';', '\t', '|' };
	size_t counts[LINES_LOOKED_AT], found = 0, even = 0;
	char even_one = ',';

	records->delimiter = ',';
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		size_t lines = count_in_lines(records, candidates[i], counts), alike = 1;

		if (counts[0] == 0)
			continue;
		if (found++ == 0)
			records->delimiter = candidates[i];
		while (alike < lines && counts[alike] == counts[0])
			alike++;
		if (alike == lines && even++ == 0)
			even_one = candidates[i];
	}
	if (found < 2)
		return 0;
	records->delimiter = even_one;
	return even == 1 ? 0
			 : failure_error(error, FAILURE_HEADER, "path", 1, 0,
				   "more than one of , ; | and the tab could separate the columns: say the dataset's "
				   "`delimiter` in site.json");
}

int records_open(const char *path, const char *encoding, const char *delimiter, struct records **out,
	struct rounds_error *error)
{
	scoped(records_free) struct records *records = calloc(1, sizeof(*records));

	if (!records || csv_init(&records->parser, CSV_STRICT | CSV_STRICT_FINI))
		return error_no_memory(error);
	records->row = 1;
	if (source_open(path, encoding, &records->source, error) || fill(records, error))
		return -1;
	if (delimiter && *delimiter) {
		(void)take_sep_line(records);
		records->delimiter = *delimiter;
	} else if (!take_sep_line(records) && find_delimiter(records, error)) {
		return -1;
	}
	csv_set_delim(&records->parser, (unsigned char)records->delimiter);
	*out = records;
	records = NULL;
	return 0;
}

void records_free(struct records *records)
{
	if (!records)
		return;
	source_free(records->source);
	csv_free(&records->parser);
	free(records->cells);
	free(records->starts);
	free(records->fields);
	free(records);
}

static int refuse_quotes(const struct records *records, struct rounds_error *error)
{
	return failure_error(error, FAILURE_CELL, "path", records->row, records->count + 1,
		"a quotation mark stands inside the field, or is not closed: put the whole field into quotation marks "
		"and double each inside it");
}

/* A line of nothing but spaces, or the LF of a CR LF; `size` counts its end. */
static bool is_blank(const struct records *records, const char *line, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (line[i] == records->delimiter || !strchr(" \t\r\n", line[i]))
			return false;
	return true;
}

/* Hands the parser what there is, as far as the next line's end. */
static int feed(struct records *records, struct rounds_error *error)
{
	const char *line = records->text + records->from;
	size_t left = records->size - records->from, size = 0;
	bool ends, of_cr = records->after_cr;

	while (size < left && line[size] != '\n' && line[size] != '\r')
		size++;
	ends = size < left;
	size += ends;
	records->from += size;
	records->after_cr = ends && line[size - 1] == '\r';
	if (records->fed == 0 && ends && is_blank(records, line, size)) {
		/* Before the header blank lines do not count: it is row 1. */
		records->row += !(of_cr && size == 1 && *line == '\n') && records->row > 1;
		return 0;
	}
	records->fed += size;
	if (records->fed > RECORD_LIMIT)
		return refuse_quotes(records, error);
	if (csv_parse(&records->parser, line, size, take_field, take_end, records) != size)
		return csv_error(&records->parser) == CSV_EPARSE ? refuse_quotes(records, error)
								 : error_no_memory(error);
	return 0;
}

int records_next(struct records *records, struct record *record, struct rounds_error *error)
{
	records->count = records->used = records->fed = 0;
	records->whole = false;
	while (!records->whole && !records->no_memory && !records->ended) {
		if (records->from == records->size && fill(records, error))
			return -1;
		if (!records->ended && feed(records, error))
			return -1;
	}
	if (!records->whole && records->fed > 0 && csv_fini(&records->parser, take_field, take_end, records))
		return refuse_quotes(records, error);
	if (records->no_memory)
		return error_no_memory(error);
	for (size_t i = 0; i < records->count; i++)
		records->fields[i] = records->cells + records->starts[i];
	*record = (struct record){ records->row, records->count, records->fields };
	records->row += records->whole;
	return 0;
}

char records_delimiter(const struct records *records)
{
	return records->delimiter;
}

const char *records_encoding(const struct records *records)
{
	return source_encoding(records->source);
}

bool records_packed(const struct records *records)
{
	return source_is_packed(records->source);
}
