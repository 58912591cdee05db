/* What a round's time went into, in the Trace Event format that Chrome and Perfetto open. */
#include "client/cli/history.h"

#include "common/file.h"
#include "common/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const struct field trace_flags[] = {
	{ "to", FIELD_TEXT, "Where to save it; none: standard output", .min = 1, .max = 1000 },
	{ NULL },
};

/* A slice on the line of thread `line`; times in milliseconds. */
static void add_slice(json_t *events, const char *name, size_t line, double begin, double length, const json_t *row)
{
	if (!(length > 0) || !isfinite(begin))
		return;
	json_array_append_new(
		events, json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:{s:O}}", "name", name, "cat", "rounds", "ph",
				"X", "pid", 1, "tid", (int)line, "ts", 1000 * begin, "dur", 1000 * length, "args",
				"round", json_array_get(row, TASK_ROUND)));
}

static void name_line(json_t *events, size_t line, const char *name)
{
	json_array_append_new(events, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", "thread_name", "ph", "M",
					      "pid", 1, "tid", (int)line, "args", "name", name));
}

static void add_task(json_t *events, const json_t *row)
{
	size_t line = (size_t)history_at(row, TASK_SITE) + 1;
	double begin = history_at(row, TASK_LEASED), download = history_at(row, TASK_DOWNLOAD);
	double train = history_at(row, TASK_TRAIN);

	add_slice(events, "waiting", line, history_at(row, TASK_ISSUED), begin - history_at(row, TASK_ISSUED), row);
	if (!isfinite(train)) {
		add_slice(events, json_string_value(json_array_get(row, TASK_STATE)), line, begin,
			history_at(row, TASK_FINISHED) - begin, row);
		return;
	}
	add_slice(events, "downloading", line, begin, download, row);
	begin += download;
	add_slice(events, json_string_value(json_array_get(row, TASK_KIND)), line, begin, train, row);
	add_slice(events, "uploading", line, begin + train, history_at(row, TASK_UPLOAD), row);
}

/* The server is line 0, the sites follow in order of name. */
static json_t *make_trace(const json_t *timeline)
{
	json_t *events = json_array(), *row;
	size_t i;

	name_line(events, 0, "server");
	json_array_foreach (json_object_get(timeline, "sites"), i, row)
		name_line(events, i + 1, json_string_value(row));
	json_array_foreach (json_object_get(timeline, "rounds"), i, row) {
		double begin = history_at(row, ROUND_AGGREGATING);

		add_slice(events, "aggregating", 0, begin, history_at(row, ROUND_FINISHED) - begin, row);
	}
	json_array_foreach (json_object_get(timeline, "tasks"), i, row)
		add_task(events, row);
	return json_pack("{s:o, s:s, s:{s:O}}", "traceEvents", events, "displayTimeUnit", "ms", "otherData", "origin",
		json_object_get(timeline, "origin"));
}

int job_trace(struct cli *cli, struct rounds_error *error)
{
	const char *to = json_text_or(cli->options, "to", NULL);
	scoped(history_free) struct history history = { .cli = cli };
	json_auto_t *trace = NULL;
	scoped(text_free) char *text = NULL;

	if (cli_job_id(cli, cli_word(cli, 0), history.id, error) ||
		history_get(&history, "/timeline", &history.timeline, error))
		return -1;
	trace = make_trace(history.timeline);
	text = trace ? json_dumps(trace, JSON_COMPACT) : NULL;
	if (!text)
		return error_no_memory(error);
	if (!to)
		return puts(text) < 0 ? EXIT_FAILED : EXIT_DONE;
	return file_replace(to, text, strlen(text), 0644, error) ? -1 : EXIT_DONE;
}
