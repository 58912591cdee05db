#include "client/cli/history.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int history_get(const struct history *history, const char *what, json_t **answer, struct rounds_error *error)
{
	char path[160];

	snprintf(path, sizeof(path), "/api/v1/jobs/%s%s", history->id, what);
	return cli_get(history->cli, path, answer, error);
}

int history_read(struct cli *cli, const char *given, struct history *history, struct rounds_error *error)
{
	*history = (struct history){ .cli = cli };
	return cli_job_id(cli, given, history->id, error) || history_get(history, "", &history->job, error) ||
			       history_get(history, "/timeline", &history->timeline, error) ||
			       history_get(history, "/curves", &history->curves, error) ||
			       history_get(history, "/models", &history->models, error)
		       ? -1
		       : 0;
}

void history_free(struct history history)
{
	json_decref(history.job);
	json_decref(history.timeline);
	json_decref(history.curves);
	json_decref(history.models);
}

double history_at(const json_t *row, size_t column)
{
	const json_t *value = json_array_get(row, column);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

int64_t history_begin_us(const struct history *history)
{
	return time_parse(json_text_or(history->job, "created", ""));
}

int64_t history_round_us(const struct history *history, int64_t round)
{
	const json_t *rounds = json_object_get(history->timeline, "rounds"), *row;
	size_t first = 0, end = json_array_size(rounds), middle;
	double ms;

	/* They are in order of their numbers; those that were let go leave a gap. */
	while (first < end) {
		middle = first + (end - first) / 2;
		if (json_integer_value(json_array_get(json_array_get(rounds, middle), ROUND_NUMBER)) < round)
			first = middle + 1;
		else
			end = middle;
	}
	row = json_array_get(rounds, first);
	ms = history_at(row, ROUND_FINISHED);
	if (!isfinite(ms))
		ms = history_at(row, ROUND_BEGUN);
	return time_parse(json_text_or(history->timeline, "origin", "")) + (int64_t)(1000 * (isfinite(ms) ? ms : 0));
}

const json_t *history_curve(const struct history *history, const char *site, size_t *at)
{
	const json_t *all = json_object_get(history->curves, "series");

	while (*at < json_array_size(all)) {
		const json_t *curve = json_array_get(all, (*at)++);

		if (!strcmp(json_text_or(curve, "site", ""), site))
			return curve;
	}
	return NULL;
}

static void flatten(const json_t *object, const char *path, json_t *into)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)object, key, value) {
		scoped(text_free) char *name = text_new("%s%s%s", path, *path ? "." : "", key);

		if (name && json_is_object(value))
			flatten(value, name, into);
		else if (name)
			json_object_set(into, name, value);
	}
}

json_t *history_settings(const struct history *history)
{
	json_t *settings = json_object();

	if (settings)
		flatten(json_object_get(history->job, "spec"), "", settings);
	return settings;
}

char *setting_text(const json_t *setting)
{
	return json_is_string(setting) ? strdup(json_string_value(setting))
				       : json_dumps(setting, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY |
								     JSON_REAL_PRECISION(15));
}
