/*
 * Event files as TensorBoard reads them: records of length, bytes and masked CRC-32C (TensorFlow's TFRecord), each an
 * `Event` in Protocol Buffers' wire format. Of tensorboard/compat/proto only the few fields below are written, so no
 * code generator is needed; the long run opens the files with TensorBoard itself.
 */
#ifndef ROUNDS_CLIENT_CLI_EVENT_FILE_H
#define ROUNDS_CLIENT_CLI_EVENT_FILE_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Collected in memory; a lack of it is told by event_file_save. Begins as { 0 }. */
struct event_file {
	uint8_t *bytes;
	size_t size, room;
	bool failed;
};

void event_file_free(struct event_file file);
DEFINE_CLEANUP(struct event_file, event_file_free);

/* What every such file begins with. */
void event_version(struct event_file *file, int64_t wall_us);

/* NAN is shown as missing. */
void event_scalar(struct event_file *file, int64_t wall_us, int64_t step, const char *tag, double value);
/* `summary` as the server gives it: {"looked_at", "min", "max", "mean", "sd", "histogram": [counts]}. */
void event_histogram(struct event_file *file, int64_t wall_us, int64_t step, const char *tag, const json_t *summary);
/* Markdown. */
void event_text(struct event_file *file, int64_t wall_us, const char *tag, const char *text);
/* For the HPARAMS page: the settings of a run, {name: number, text, boolean, or anything else as JSON}; how it ended. */
void event_settings(struct event_file *file, int64_t wall_us, const json_t *settings);
void event_ended(struct event_file *file, int64_t wall_us, bool well);

/* Replaces `path`. */
must_check int event_file_save(const struct event_file *file, const char *path, struct rounds_error *error);

#endif
