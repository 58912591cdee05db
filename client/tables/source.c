#include "client/tables/source.h"

#include "common/failure.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

enum { ROOM = 65536 };

struct source {
	gzFile file; /* reads plain files, too */
	iconv_t to_utf8;
	const char *encoding;
	char bytes[ROOM]; /* as they are on the disk, unpacked */
	size_t from, size;
	bool ended, broken, has_nul; /* no more bytes; what is at `from` is no text; a NUL is */
};

static int refuse(struct rounds_error *error, const char *what)
{
	return failure_error(error, FAILURE_ENCODING, "path", 0, 0, "%s", what);
}

/* Moves what is left to the front and reads behind it. */
static int fill(struct source *source, struct rounds_error *error)
{
	int got, number;

	memmove(source->bytes, source->bytes + source->from, source->size - source->from);
	source->size -= source->from;
	source->from = 0;
	got = gzread(source->file, source->bytes + source->size, (unsigned)(ROOM - source->size));
	if (got < 0) { /* zlib's own words hold the path */
		(void)gzerror(source->file, &number);
		return number == Z_ERRNO ? error_errno(error, "the table cannot be read")
					 : refuse(error, "the gzip file is damaged: copy it once more");
	}
	source->ended = got == 0;
	source->size += (size_t)got;
	/* A file that is cut short gives all that it has and then, only when asked, this. */
	(void)gzerror(source->file, &number);
	if (source->ended && number == Z_BUF_ERROR)
		return refuse(error, "the gzip file ends too early: copy it once more");
	return 0;
}

/* Files that are called tables by people but are none to us. */
static const struct {
	const char *bytes;
	size_t size;
	const char *what;
} strangers[] = {
	{ "PK\x03\x04", 4, "this is a spreadsheet or a zip file: save the sheet as CSV, or unpack it" },
	{ "\xd0\xcf\x11\xe0", 4, "this is a spreadsheet (XLS): save the sheet as CSV" },
	{ "PAR1", 4, "this is a Parquet file, which is not read: write it as CSV" },
	{ "BZh", 3, "this is packed with bzip2: unpack it, or use gzip" },
	{ "\xfd"
	  "7zXZ",
		5, "this is packed with xz: unpack it, or use gzip" },
	{ "\x28\xb5\x2f\xfd", 4, "this is packed with zstd: unpack it, or use gzip" },
	{ "SQLite format 3", 15, "this is an SQLite database: export the table as CSV" },
};

static int refuse_strangers(const struct source *source, struct rounds_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
		if (source->size >= strangers[i].size &&
			!memcmp(source->bytes, strangers[i].bytes, strangers[i].size))
			return refuse(error, strangers[i].what);
	return 0;
}

/* Byte order marks, the longer ones first. */
static const struct {
	const char *bytes;
	size_t size;
	const char *encoding;
} marks[] = {
	{ "\xff\xfe\0\0", 4, "UTF-32LE" },
	{ "\0\0\xfe\xff", 4, "UTF-32BE" },
	{ "\xef\xbb\xbf", 3, "UTF-8" },
	{ "\xff\xfe", 2, "UTF-16LE" },
	{ "\xfe\xff", 2, "UTF-16BE" },
};

/* Two characters of ASCII in UTF-16, as any header begins. */
static const char *known_by_nuls(const struct source *source)
{
	const char *b = source->bytes;

	if (source->size >= 4 && b[0] && !b[1] && b[2] && !b[3])
		return "UTF-16LE";
	if (source->size >= 4 && !b[0] && b[1] && !b[2] && b[3])
		return "UTF-16BE";
	return NULL;
}

static const char *find_encoding(struct source *source, const char *said)
{
	const char *known;

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (source->size >= marks[i].size && !memcmp(source->bytes, marks[i].bytes, marks[i].size)) {
			source->from = marks[i].size;
			return marks[i].encoding;
		}
	if (said && *said) /* Python's usual name is the one that iconv does not know */
		return strcasecmp(said, "latin-1") ? said : "ISO-8859-1";
	known = known_by_nuls(source);
	return known ? known : "UTF-8";
}

int source_open(const char *path, const char *encoding, struct source **out, struct rounds_error *error)
{
	scoped(source_free) struct source *source = calloc(1, sizeof(*source));

	if (!source)
		return error_no_memory(error);
	source->to_utf8 = (iconv_t)-1;
	source->file = gzopen(path, "rbe");
	if (!source->file)
		return errno ? error_errno(error, "the table cannot be opened") : error_no_memory(error);
	gzbuffer(source->file, ROOM);
	if (fill(source, error) || refuse_strangers(source, error))
		return -1;
	source->encoding = find_encoding(source, encoding);
	source->to_utf8 = iconv_open("UTF-8", source->encoding);
	if (source->to_utf8 == (iconv_t)-1)
		return failure_error(error, FAILURE_ENCODING, "path", 0, 0,
			"there is no encoding \"%.60s\": `iconv -l` lists them, such as windows-1252 or UTF-16",
			source->encoding);
	*out = source;
	source = NULL;
	return 0;
}

void source_free(struct source *source)
{
	if (!source)
		return;
	if (source->file)
		gzclose(source->file);
	if (source->to_utf8 != (iconv_t)-1)
		iconv_close(source->to_utf8);
	free(source);
}

static int refuse_bytes(const struct source *source, struct rounds_error *error)
{
	if (source->has_nul)
		return refuse(error, "a NUL byte stands here: write the table as text");
	if (!strcasecmp(source->encoding, "UTF-8"))
		return refuse(error,
			"this is not UTF-8: say the dataset's `encoding` in site.json, such as \"windows-1252\" "
			"(Western Europe), or save the table as UTF-8");
	return failure_error(error, FAILURE_ENCODING, "path", 0, 0,
		"these bytes are no text in %.60s, the table's encoding: correct the dataset's `encoding` in site.json",
		source->encoding);
}

/* Characters until the room is full, bytes are missing or something is wrong; returns how many bytes they have. */
static size_t convert(struct source *source, char *text, size_t size)
{
	char *from = source->bytes + source->from, *to = text, *nul;
	size_t left = source->size - source->from, room = size;

	if (iconv(source->to_utf8, &from, &left, &to, &room) == (size_t)-1 && errno != E2BIG)
		source->broken = errno == EILSEQ || source->ended;
	source->from = source->size - left;
	nul = memchr(text, 0, size - room);
	source->has_nul = nul != NULL;
	source->broken |= source->has_nul;
	return nul ? (size_t)(nul - text) : size - room;
}

int source_read(struct source *source, char *text, size_t size, size_t *got, struct rounds_error *error)
{
	*got = 0;
	while (*got == 0 && !source->broken && (source->from < source->size || !source->ended)) {
		if (source->from < source->size)
			*got = convert(source, text, size);
		if (*got == 0 && !source->broken && !source->ended && fill(source, error))
			return -1;
	}
	return *got == 0 && source->broken ? refuse_bytes(source, error) : 0;
}

const char *source_encoding(const struct source *source)
{
	return source->encoding;
}

bool source_is_packed(const struct source *source)
{
	return !gzdirect(source->file);
}
