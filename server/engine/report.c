#include "server/engine/report.h"

#include "common/clock.h"
#include "common/fields.h"
#include "common/json.h"
#include "common/label.h"
#include "common/text.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/tasks.h"

#include <math.h>
#include <string.h>

enum { METRICS = 1000 };

enum left_out { LEFT_STAGE, LEFT_FORM, LEFT_NAME, LEFT_VALUE, LEFT_MANY, LEFT_TIMINGS, LEFT_OUT_COUNT };

static const char *const reasons[LEFT_OUT_COUNT] = {
	[LEFT_STAGE] = "a stage is not shown: its name " LABEL_RULE,
	[LEFT_FORM] = "metrics are left out: they are an object of names and numbers",
	[LEFT_NAME] = "a metric is left out: its name " LABEL_RULE,
	[LEFT_VALUE] = "a metric is left out: it is a number, or null where it was not finite",
	[LEFT_MANY] = "metrics are left out: there are at most 1000",
	[LEFT_TIMINGS] = "timings are left out: they are seconds and bytes",
};

static const struct field timing_fields[] = {
	{ "download", FIELD_NUMBER, "Seconds until the model was there", .fallback = "0.0", .min = 0, .max = 1e9 },
	{ "train", FIELD_NUMBER, "Seconds of the executor", .fallback = "0.0", .min = 0, .max = 1e9 },
	{ "upload", FIELD_NUMBER, "Seconds until the update was delivered", .fallback = "0.0", .min = 0, .max = 1e9 },
	{ "downloaded", FIELD_INTEGER, "Bytes fetched", .fallback = "0", .min = 0, .max = 1e15 },
	{ "uploaded", FIELD_INTEGER, "Bytes delivered", .fallback = "0", .min = 0, .max = 1e15 },
	{ "round_trip", FIELD_NUMBER, "Seconds of a round trip to the server", .fallback = "0.0", .min = 0,
		.max = 1e6 },
	{ NULL },
};

void report_free(struct report *report)
{
	json_decref(report->task);
	json_decref(report->job);
	json_decref(report->metrics);
	json_decref(report->timings);
	report->task = report->job = report->metrics = report->timings = NULL;
}

int report_find_task(struct report *report, struct store_tx *tx, struct rounds_error *error)
{
	json_decref(report->task);
	report->task = NULL;
	if (task_find(tx, report->id, &report->task, error))
		return -1;
	if (strcmp(json_text_or(report->task, "site", ""), report->site) != 0)
		return error_set(error, ERROR_NOT_FOUND, "there is no task %.64s", report->id);
	return 0;
}

int report_find(struct report *report, struct store_tx *tx, struct rounds_error *error)
{
	if (report_find_task(report, tx, error))
		return -1;
	return report->job ? 0 : job_find_at_work(tx, json_text_or(report->task, "job", ""), &report->job, error);
}

const char *report_state(const struct report *report)
{
	return json_text_or(report->task, "state", "");
}

int report_check_open(const struct report *report, struct rounds_error *error)
{
	const char *reason = json_text_or(report->task, "reason", NULL);

	if (!state_is_final(&task_machine, report_state(report)))
		return 0;
	return error_set(error, ERROR_CONFLICT, "the task is %s%s%s", report_state(report), reason ? ": " : "",
		reason ? reason : "");
}

int64_t report_lease_end(const struct report *report)
{
	return engine_now(report->engine) + json_integer_or(report->task, "lease_us", 60 * SECOND_US);
}

bool report_is_news(const struct report *report)
{
	const json_t *task = report->task;
	int64_t left = json_integer_or(task, "lease_due", 0) - engine_now(report->engine);
	const char *stage = json_text_or(task, "stage", "");

	return strcmp(report_state(report), "leased") != 0 || !json_integer_or(task, "heard", 0) ||
	       3 * left <= 2 * json_integer_or(task, "lease_us", 0) || report->left_out ||
	       (report->stage && strcmp(report->stage, stage) != 0) ||
	       fabs(report->fraction - json_number_or(task, "fraction", 0)) >= 0.01 ||
	       (report->metrics && !json_equal(report->metrics, json_object_get(task, "metrics"))) ||
	       json_array_size(json_object_get(report->body, "log")) > 0;
}

static void leave_out(struct report *report, enum left_out reason)
{
	report->left_out |= 1u << reason;
}

static int read_metrics(struct report *report, struct rounds_error *error)
{
	json_t *given = json_object_get(report->body, "metrics"), *value;
	const char *name;

	if (!given || json_is_null(given))
		return 0;
	report->metrics = json_object();
	if (!report->metrics)
		return error_no_memory(error);
	if (!json_is_object(given))
		leave_out(report, LEFT_FORM);
	json_object_foreach (given, name, value) {
		if (!label_is_valid(name))
			leave_out(report, LEFT_NAME);
		else if (!json_is_number(value) && !json_is_null(value))
			leave_out(report, LEFT_VALUE);
		else if (json_object_size(report->metrics) >= METRICS)
			leave_out(report, LEFT_MANY);
		else if (json_object_set(report->metrics, name, value))
			return error_no_memory(error);
	}
	return 0;
}

int report_read(struct report *report, struct rounds_error *error)
{
	const json_t *timings = json_object_get(report->body, "timings");
	unsigned long before = json_shortages();
	json_auto_t *faults = json_array();

	report->stage = json_text_or(report->body, "stage", NULL);
	if (report->stage && !label_is_valid(report->stage)) {
		report->stage = NULL;
		leave_out(report, LEFT_STAGE);
	}
	report->fraction = json_number_or(report->body, "fraction", NAN);
	if (!(report->fraction >= 0 && report->fraction <= 1))
		report->fraction = NAN;
	if (timings && !json_is_null(timings)) {
		report->timings = fields_apply(timing_fields, timings, "timings", faults);
		if (!report->timings)
			leave_out(report, LEFT_TIMINGS);
	}
	if (read_metrics(report, error))
		return -1;
	return json_shortages() == before ? 0 : error_no_memory(error);
}

int report_note_left_out(const struct report *report, struct store_tx *tx, struct rounds_error *error)
{
	char text[300];
	struct new_event event = { .kind = "metric_missing",
		.site = report->site,
		.message = text,
		.round = json_integer_or(report->task, "round", -1) };

	for (size_t i = 0; i < LEFT_OUT_COUNT; i++) {
		if (!(report->left_out & 1u << i))
			continue;
		text_print(text, sizeof(text), "%s: %s", report->site, reasons[i]);
		if (event_metric_missing(tx, json_text_or(report->task, "job", ""), &event, error))
			return -1;
	}
	return 0;
}
