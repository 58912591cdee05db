/*
 * A job as TensorBoard sees it: one run for the model of all, one for each site; the settings on the HPARAMS page, the
 * spec on TEXT, the numbers of the kept models on HISTOGRAMS.
 */
#include "client/cli/event_file.h"
#include "client/cli/history.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BINS = 30 };

/* Jobs in one folder are told apart by the end of their ids; what a name may hold is more than a path may. */
static char *run_folder(const struct history *history, const char *folder)
{
	char *path = text_new(
		"%s/%s-%s", folder, json_text_or(history->job, "name", "job"), history->id + strlen(history->id) - 6);

	for (char *c = path ? path + strlen(folder) + 1 : NULL; c && *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f || strchr("/\\:*?\"<>|", *c) ||
			(*c == '.' && c[-1] == '/'))
			*c = '_';
	return path;
}

static void put_curves(struct event_file *file, const struct history *history, const char *site)
{
	const json_t *curve;
	size_t at = 0;

	while ((curve = history_curve(history, site, &at))) {
		size_t i;
		json_t *round;

		json_array_foreach (json_object_get(curve, "rounds"), i, round) {
			int64_t number = json_integer_value(round);

			event_scalar(file, history_round_us(history, number), number, json_text_or(curve, "name", ""),
				history_at(json_object_get(curve, "values"), i));
		}
	}
}

static void put_spec(struct event_file *file, const struct history *history)
{
	json_auto_t *settings = history_settings(history);
	scoped(text_free) char *spec = json_dumps(
		json_object_get(history->job, "spec"), JSON_INDENT(4) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
	scoped(text_free) char *text = spec ? text_new("```json\n%s\n```\n", spec) : NULL;
	const char *state = json_text_or(history->job, "state", "");
	int64_t begin = history_begin_us(history), end = time_parse(json_text_or(history->job, "finished", ""));

	if (text)
		event_text(file, begin, "job", text);
	event_settings(file, begin, settings);
	if (end > 0)
		event_ended(file, end, !strcmp(state, "completed"));
}

static int put_model(
	struct event_file *file, const struct history *history, const json_t *model, struct rounds_error *error)
{
	json_auto_t *answer = NULL;
	int64_t round = json_integer_or(model, "round", 0);
	char path[160];
	size_t i;
	json_t *tensor;

	snprintf(
		path, sizeof(path), "/api/v1/blobs/%s/tensors?histogram=%d", json_text_or(model, "digest", ""), BINS);
	if (cli_get(history->cli, path, &answer, error))
		return -1;
	json_array_foreach (json_object_get(answer, "items"), i, tensor) {
		const json_t *summary = json_object_get(tensor, "summary");

		if (json_is_object(summary) && json_number_or(summary, "looked_at", 0) > 0)
			event_histogram(file, history_round_us(history, round), round,
				json_text_or(tensor, "name", ""), summary);
	}
	return 0;
}

/* The best model and the last are models of rounds, too: each round's is drawn once, in order. */
static int put_models(struct event_file *file, const struct history *history, struct rounds_error *error)
{
	int64_t drawn = -1;
	size_t i;
	json_t *model;

	json_array_foreach (json_object_get(history->models, "items"), i, model) {
		if (json_integer_or(model, "round", -1) <= drawn)
			continue;
		drawn = json_integer_or(model, "round", -1);
		if (put_model(file, history, model, error))
			return error->kind == ERROR_FORBIDDEN ? 0 : -1; /* a viewer sees metrics, not weights */
	}
	return 0;
}

static int save_run(const struct history *history, const char *folder, const char *site, struct rounds_error *error)
{
	scoped(event_file_free) struct event_file file = { 0 };
	int64_t begin = history_begin_us(history);
	scoped(text_free) char *path = text_new(
		"%s/events.out.tfevents.%lld.rounds", folder, (long long)(begin / SECOND_US));

	if (!path)
		return error_no_memory(error);
	event_version(&file, begin);
	if (!*site)
		put_spec(&file, history);
	put_curves(&file, history, site);
	if (!*site && put_models(&file, history, error))
		return -1;
	return directory_make(folder, 0755, error) || event_file_save(&file, path, error) ? -1 : 0;
}

int save_tensorboard(const struct history *history, const char *folder, struct rounds_error *error)
{
	scoped(text_free) char *run = run_folder(history, folder);
	size_t i;
	json_t *site;

	if (!run)
		return error_no_memory(error);
	if (save_run(history, run, "", error))
		return -1;
	json_array_foreach (json_object_get(history->timeline, "sites"), i, site) {
		const char *name = json_is_string(site) ? json_string_value(site) : "";
		scoped(text_free) char *own = text_new("%s/sites/%s", run, name);

		if (!own)
			return error_no_memory(error);
		if (!name_is_valid(name)) /* it becomes a folder */
			return error_set(error, ERROR_INVALID, "the server named a site what no site is called");
		if (save_run(history, own, name, error))
			return -1;
	}
	if (!history->cli->json)
		printf("Saved %s; look at it with: tensorboard --logdir %s\n", run, folder);
	return 0;
}
