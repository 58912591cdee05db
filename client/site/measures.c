#include "client/site/measures.h"

#include "common/json.h"
#include "common/label.h"
#include "common/log.h"

#include <stdio.h>

json_t *measures_fit(const json_t *given, const char *task, bool *said)
{
	json_t *fit = json_is_object(given) ? json_object() : NULL;
	size_t left_out = 0;
	const char *name;
	json_t *value;
	char count[24];

	json_object_foreach ((json_t *)(uintptr_t)given, name, value) {
		if (fit && json_object_size(fit) < MEASURES_LIMIT && label_is_valid(name) &&
			(json_is_number(value) || json_is_null(value)))
			json_object_set(fit, name, value);
		else
			left_out++;
	}
	if (left_out > 0 && !*said) {
		*said = true;
		snprintf(count, sizeof(count), "%zu", left_out);
		log_warn("metrics are left out: a name " LABEL_RULE "; a value is a number; there are at most 1000",
			"task", task, "metrics", count, NULL);
	}
	return fit;
}

const char *stage_fit(const char *stage)
{
	return label_is_valid(stage) ? stage : "training";
}
