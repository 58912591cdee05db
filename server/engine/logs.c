/* What a site's executor says while it works, where its administrator lets the server know: events of the kind "log". */
#include "server/engine/internal.h"

#include "server/store/rounds.h"

#include <string.h>

enum {
	LINES_AT_ONCE = 100,
	LINE_BYTES = 1000,
	LINES_A_ROUND = 1000, /* of one site */
};

static int check_lines(const json_t *lines, struct rounds_error *error)
{
	size_t i;
	json_t *line;

	if (!json_is_array(lines) || json_array_size(lines) > LINES_AT_ONCE)
		return error_field(error, "log", "must be an array of at most %d texts", LINES_AT_ONCE);
	json_array_foreach (lines, i, line)
		if (!json_is_string(line) || json_string_length(line) > LINE_BYTES ||
			strlen(json_string_value(line)) != json_string_length(line))
			return error_field(error, "log", "must hold texts of at most %d bytes", LINE_BYTES);
	return 0;
}

int keep_log(struct engine *engine, struct store_tx *tx, const json_t *task, const json_t *lines,
	struct rounds_error *error)
{
	const char *job = json_string_value(json_object_get(task, "job"));
	struct new_event event = {
		.kind = "log",
		.site = json_string_value(json_object_get(task, "site")),
		.round = json_integer_value(json_object_get(task, "round")),
	};
	int64_t kept;
	size_t i;
	json_t *line;

	if (check_lines(lines, error) || event_count_log(tx, job, event.round, event.site, &kept, error))
		return -1;
	json_array_foreach (lines, i, line) {
		event.message = ++kept == LINES_A_ROUND ? "(more lines in this round are not kept)"
							: json_string_value(line);
		if (kept <= LINES_A_ROUND && event_add(tx, job, &event, error))
			return -1;
	}
	return i > 0 && kept <= LINES_A_ROUND ? wake_job(engine, tx, job, error) : 0;
}
