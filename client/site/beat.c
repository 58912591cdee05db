#include "client/site/beat.h"

#include "client/site/measures.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <string.h>

void beat_begin(struct beat *beat, struct slot *slot, const char *task, int64_t lease_seconds)
{
	int64_t third = lease_seconds * SECOND_US / 3, most = BEAT_SECONDS * SECOND_US;

	*beat = (struct beat){ .slot = slot, .task = task, .every_us = third < most ? third : most };
	beat->next_us = clock_steady_us() +
			(beat->every_us < SECOND_US ? beat->every_us : SECOND_US); /* the first one soon */
}

bool shares_log(const struct site *site, const char *executor)
{
	const json_t *executors = json_object_get(site->settings, "executors");

	return json_bool_or(json_object_get(executors, executor), "share_log", false);
}

bool beat_has_log(const struct beat *beat)
{
	const struct slot *slot = beat->slot;

	return slot->executor && executor_has_log(slot->executor) && shares_log(slot->site, slot->executor_name);
}

/* The server's answer names the task's state: only a lease is to be worked on. */
static bool is_leased(const json_t *answer)
{
	return !strcmp(json_text_or(answer, "state", "leased"), "leased");
}

/* On a connection of its own, since the other may be in the middle of a transfer. */
void beat_now(struct beat *beat, const char *stage, double fraction, const json_t *metrics)
{
	scoped(text_free) char *path = text_new("/api/v1/tasks/%s/heartbeat", beat->task);
	json_auto_t *fit = measures_fit(metrics, beat->task, &beat->said), *answer = NULL;
	json_auto_t *body = json_pack("{s:s, s:o, s:O*, s:o*}", "stage", stage_fit(stage), "fraction",
		json_number_or_null(fraction), "metrics", fit, "log",
		beat_has_log(beat) ? executor_take_log(beat->slot->executor) : NULL);
	struct rounds_error error = { 0 };

	beat->next_us = clock_steady_us() + beat->every_us;
	if (!path || !body)
		return;
	if (connection_call(beat->slot->beats, "POST", path, body, 10, &answer, &error)) {
		beat->called_off = !error_is_passing(&error);
		log_warn(beat->called_off ? "the task was called off" : "no heartbeat went through", "task",
			beat->task, "reason", error.message, NULL);
	} else if (!is_leased(answer)) {
		beat->called_off = true;
		log_warn("the task was called off", "task", beat->task, NULL);
	} else {
		site_note_draining(beat->slot->site, answer);
	}
}

bool beat_in_time(struct beat *beat, const char *stage, double fraction, const json_t *metrics)
{
	if (site_stopping(beat->slot->site))
		return false;
	if (!beat->called_off && clock_steady_us() >= beat->next_us)
		beat_now(beat, stage, fraction, metrics);
	return !beat->called_off;
}
