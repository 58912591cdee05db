/* A stored model is measured at every site; nothing is trained. */
#include "server/workflows/training_rounds.h"
#include "server/workflows/workflows.h"

static const struct field params[] = {
	{ "deadline_seconds", FIELD_NUMBER, "After so long what has come is all; 0: wait for everyone",
		.fallback = "0", .min = 0, .max = 31536000 },
	{ NULL },
};

static const struct training_rules rules = { .only_evaluates = true };

static int64_t no_rounds(const json_t *given)
{
	(void)given;
	return 0;
}

const struct workflow workflow_evaluate = {
	.name = "evaluate",
	.summary = "A stored model is measured at every site",
	.params = params,
	.rules = &rules,
	.needs_model = true,
	.rounds = no_rounds,
	.steps = { [EVENT_STARTED] = training_start,
		[EVENT_RESULT] = training_result,
		[EVENT_TASK_FAILED] = training_failure,
		[EVENT_TIMER] = training_timer },
};
