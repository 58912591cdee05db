/* What a site's executor says while it works, where its administrator lets the server know: events of the kind "log". */
#include "server/engine/internal.h"

#include "common/text.h"
#include "server/store/rounds.h"

enum {
	LINES_AT_ONCE = 100,
	LINE_BYTES = 1000,
	LINES_A_ROUND = 1000, /* of one site */
};

int keep_log(struct engine *engine, struct store_tx *tx, const json_t *task, const json_t *lines,
	struct rounds_error *error)
{
	const char *job = json_string_value(json_object_get(task, "job"));
	char text[LINE_BYTES + 1];
	struct new_event event = {
		.kind = "log",
		.site = json_string_value(json_object_get(task, "site")),
		.round = json_integer_value(json_object_get(task, "round")),
		.message = text,
	};
	int64_t kept;
	size_t i;
	json_t *line;

	if (event_count_log(tx, job, event.round, event.site, &kept, error))
		return -1;
	json_array_foreach (lines, i, line) {
		if (i == LINES_AT_ONCE || kept == LINES_A_ROUND)
			break;
		if (!json_is_string(line))
			continue;
		text_print(text, sizeof(text), "%s",
			++kept == LINES_A_ROUND ? "(more lines in this round are not kept)"
						: json_string_value(line));
		if (event_add(tx, job, &event, error))
			return -1;
	}
	return i > 0 ? wake_job(engine, tx, job, error) : 0;
}
