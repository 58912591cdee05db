#include "client/cli/event_file.h"

#include "client/cli/history.h"
#include "common/file.h"
#include "common/json.h"

#include <string.h>

void event_file_free(struct event_file file)
{
	free(file.bytes);
}

int event_file_save(const struct event_file *file, const char *path, struct rounds_error *error)
{
	return file->failed ? error_no_memory(error) : file_replace(path, file->bytes, file->size, 0644, error);
}

static void put(struct event_file *file, const void *bytes, size_t size)
{
	if (!file->failed && file->room - file->size < size) {
		size_t room = 2 * (file->room + size);
		uint8_t *more = realloc(file->bytes, room);

		file->failed = !more;
		file->bytes = more ? more : file->bytes;
		file->room = more ? room : file->room;
	}
	if (file->failed)
		return;
	memcpy(file->bytes + file->size, bytes, size);
	file->size += size;
}

/* Protocol Buffers' wire format: a key of field number and type, then the value. Numbers are little-endian, as on every machine that this program is built for. */
enum wire_type { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum { VARINT_SIZE = 10 };

static size_t varint(uint64_t value, uint8_t bytes[VARINT_SIZE])
{
	size_t size = 0;

	for (; value >= 0x80; value >>= 7)
		bytes[size++] = (uint8_t)(value | 0x80);
	bytes[size++] = (uint8_t)value;
	return size;
}

static void put_varint(struct event_file *file, uint64_t value)
{
	uint8_t bytes[VARINT_SIZE];

	put(file, bytes, varint(value, bytes));
}

static void put_key(struct event_file *file, unsigned field, enum wire_type type)
{
	put_varint(file, field << 3 | type);
}

static void put_integer(struct event_file *file, unsigned field, int64_t value)
{
	put_key(file, field, VARINT);
	put_varint(file, (uint64_t)value);
}

static void put_double(struct event_file *file, unsigned field, double value)
{
	put_key(file, field, FIXED64);
	put(file, &value, sizeof(value));
}

static void put_float(struct event_file *file, unsigned field, float value)
{
	put_key(file, field, FIXED32);
	put(file, &value, sizeof(value));
}

static void put_text(struct event_file *file, unsigned field, const char *text)
{
	put_key(file, field, BYTES);
	put_varint(file, strlen(text));
	put(file, text, strlen(text));
}

/* A message within another: its length goes before it when it is known. */
static size_t message_begin(struct event_file *file, unsigned field)
{
	put_key(file, field, BYTES);
	return file->size;
}

static void message_end(struct event_file *file, size_t begin)
{
	uint8_t length[VARINT_SIZE];
	size_t size = file->size - begin, used = varint(size, length);

	put(file, length, used);
	if (file->failed)
		return;
	memmove(file->bytes + begin + used, file->bytes + begin, size);
	memcpy(file->bytes + begin, length, used);
}

/* CRC-32C (Castagnoli; RFC 3720, appendix B.4), with the rotation and offset that TFRecord puts on it. */
static uint32_t masked_crc(const uint8_t *bytes, size_t size)
{
	uint32_t crc = ~UINT32_C(0);

	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
	}
	crc = ~crc;
	return ((crc >> 15) | (crc << 17)) + UINT32_C(0xa282ead8);
}

/* A record is a length of 8 bytes, its CRC, the bytes, their CRC. */
enum { LENGTH_SIZE = 8, RECORD_HEAD = LENGTH_SIZE + 4 };
/* Event, which a record holds; Summary and Summary.Value, which an event holds. */
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5 };
enum { SUMMARY_VALUE = 1 };
enum { VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_HISTOGRAM = 5, VALUE_TENSOR = 8, VALUE_METADATA = 9 };

static size_t event_begin(struct event_file *file, int64_t wall_us, int64_t step)
{
	static const uint8_t head[RECORD_HEAD];
	size_t begin = file->size;

	put(file, head, sizeof(head));
	put_double(file, EVENT_WALL_TIME, (double)wall_us / 1e6);
	put_integer(file, EVENT_STEP, step);
	return begin;
}

static void event_end(struct event_file *file, size_t begin)
{
	uint64_t size = file->size - begin - RECORD_HEAD;
	uint32_t crc;

	if (file->failed)
		return;
	memcpy(file->bytes + begin, &size, LENGTH_SIZE);
	crc = masked_crc(file->bytes + begin, LENGTH_SIZE);
	memcpy(file->bytes + begin + LENGTH_SIZE, &crc, sizeof(crc));
	crc = masked_crc(file->bytes + begin + RECORD_HEAD, size);
	put(file, &crc, sizeof(crc));
}

void event_version(struct event_file *file, int64_t wall_us)
{
	size_t event = event_begin(file, wall_us, 0);

	put_text(file, EVENT_VERSION, "brain.Event:2");
	event_end(file, event);
}

/* An event whose summary has one value, which the caller fills in. */
struct value {
	size_t event, summary, value;
};

static struct value value_begin(struct event_file *file, int64_t wall_us, int64_t step, const char *tag)
{
	struct value at;

	at.event = event_begin(file, wall_us, step);
	at.summary = message_begin(file, EVENT_SUMMARY);
	at.value = message_begin(file, SUMMARY_VALUE);
	put_text(file, VALUE_TAG, tag);
	return at;
}

static void value_end(struct event_file *file, struct value at)
{
	message_end(file, at.value);
	message_end(file, at.summary);
	event_end(file, at.event);
}

void event_scalar(struct event_file *file, int64_t wall_us, int64_t step, const char *tag, double value)
{
	struct value at = value_begin(file, wall_us, step, tag);

	put_float(file, VALUE_SIMPLE, (float)value);
	value_end(file, at);
}

/* HistogramProto: upper ends of the buckets, and how many numbers each holds; both are packed doubles. */
enum { HISTO_MIN = 1, HISTO_MAX, HISTO_COUNT, HISTO_SUM, HISTO_SQUARES, HISTO_ENDS, HISTO_COUNTS };

static void put_buckets(struct event_file *file, const json_t *counts, double min, double max)
{
	size_t bins = json_array_size(counts), list = message_begin(file, HISTO_ENDS);

	for (size_t i = 0; i < bins; i++)
		put(file, &(double){ min + (max - min) * (double)(i + 1) / (double)bins }, sizeof(double));
	message_end(file, list);
	list = message_begin(file, HISTO_COUNTS);
	for (size_t i = 0; i < bins; i++)
		put(file, &(double){ json_number_value(json_array_get(counts, i)) }, sizeof(double));
	message_end(file, list);
}

void event_histogram(struct event_file *file, int64_t wall_us, int64_t step, const char *tag, const json_t *summary)
{
	double min = json_number_or(summary, "min", 0), max = json_number_or(summary, "max", 0);
	double mean = json_number_or(summary, "mean", 0), sd = json_number_or(summary, "sd", 0);
	double count = json_number_or(summary, "looked_at", 0);
	struct value at = value_begin(file, wall_us, step, tag);
	size_t histogram = message_begin(file, VALUE_HISTOGRAM);

	put_double(file, HISTO_MIN, min);
	put_double(file, HISTO_MAX, max);
	put_double(file, HISTO_COUNT, count);
	put_double(file, HISTO_SUM, count * mean);
	put_double(file, HISTO_SQUARES, count * (sd * sd + mean * mean));
	put_buckets(file, json_object_get(summary, "histogram"), min, max);
	message_end(file, histogram);
	value_end(file, at);
}

/* SummaryMetadata.PluginData: which page shows the value. */
enum { METADATA_PLUGIN = 1, PLUGIN_NAME = 1, PLUGIN_CONTENT = 2 };
enum { TENSOR_DTYPE = 1, TENSOR_TEXTS = 8, DTYPE_TEXT = 7 };

void event_text(struct event_file *file, int64_t wall_us, const char *tag, const char *text)
{
	struct value at = value_begin(file, wall_us, 0, tag);
	size_t metadata = message_begin(file, VALUE_METADATA), plugin = message_begin(file, METADATA_PLUGIN), tensor;

	put_text(file, PLUGIN_NAME, "text");
	message_end(file, plugin);
	message_end(file, metadata);
	tensor = message_begin(file, VALUE_TENSOR);
	put_integer(file, TENSOR_DTYPE, DTYPE_TEXT);
	put_text(file, TENSOR_TEXTS, text);
	message_end(file, tensor);
	value_end(file, at);
}

/* An entry of a map from text to google.protobuf.Value. */
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2, KIND_NUMBER = 2, KIND_TEXT = 3, KIND_BOOL = 4 };

static void put_setting(struct event_file *file, unsigned field, const char *name, const json_t *setting)
{
	scoped(text_free) char *text = setting_text(setting);
	size_t entry = message_begin(file, field), value;

	put_text(file, ENTRY_KEY, name);
	value = message_begin(file, ENTRY_VALUE);
	if (json_is_number(setting))
		put_double(file, KIND_NUMBER, json_number_value(setting));
	else if (json_is_boolean(setting))
		put_integer(file, KIND_BOOL, json_is_true(setting));
	else
		put_text(file, KIND_TEXT, text ? text : "");
	message_end(file, value);
	message_end(file, entry);
}

/* HParamsPluginData: a session's start or its end. */
enum { SESSION_START = 3, SESSION_END = 4 };
enum { START_SETTINGS = 1, START_TIME = 5, END_STATUS = 1, END_TIME = 2, STATUS_SUCCESS = 1, STATUS_FAILURE = 2 };

struct session {
	struct value value;
	size_t metadata, plugin, content, part;
};

static struct session session_begin(struct event_file *file, int64_t wall_us, const char *tag, unsigned part)
{
	struct session at;

	at.value = value_begin(file, wall_us, 0, tag);
	at.metadata = message_begin(file, VALUE_METADATA);
	at.plugin = message_begin(file, METADATA_PLUGIN);
	put_text(file, PLUGIN_NAME, "hparams");
	at.content = message_begin(file, PLUGIN_CONTENT);
	at.part = message_begin(file, part);
	return at;
}

static void session_end(struct event_file *file, struct session at)
{
	message_end(file, at.part);
	message_end(file, at.content);
	message_end(file, at.plugin);
	message_end(file, at.metadata);
	value_end(file, at.value);
}

void event_settings(struct event_file *file, int64_t wall_us, const json_t *settings)
{
	struct session at = session_begin(file, wall_us, "_hparams_/session_start_info", SESSION_START);
	const char *name;
	json_t *setting;

	json_object_foreach ((json_t *)settings, name, setting)
		if (!json_is_null(setting))
			put_setting(file, START_SETTINGS, name, setting);
	put_double(file, START_TIME, (double)wall_us / 1e6);
	session_end(file, at);
}

void event_ended(struct event_file *file, int64_t wall_us, bool well)
{
	struct session at = session_begin(file, wall_us, "_hparams_/session_end_info", SESSION_END);

	put_integer(file, END_STATUS, well ? STATUS_SUCCESS : STATUS_FAILURE);
	put_double(file, END_TIME, (double)wall_us / 1e6);
	session_end(file, at);
}
