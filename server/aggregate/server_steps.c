/* Every step of the server there is. A new one is a new file in this folder and a row here. */
#include "server/aggregate/server_steps.h"

#include "common/json.h"

#include <string.h>

static const struct server_step *const steps[] = {
	&server_step_sgd,
	&server_step_momentum,
	&server_step_adagrad,
	&server_step_yogi,
	&server_step_adam,
	&server_step_scaffold,
	&server_step_kmeans,
	&server_step_cox,
};

const struct server_step *server_step_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (!strcmp(steps[i]->name, name))
			return steps[i];
	return NULL;
}

bool server_step_has_state(const struct server_step *step)
{
	return step->states[0].prefix;
}

int server_step(const json_t *params, const struct server_step_files *files, struct rounds_error *error)
{
	const char *name = json_text_or(params, "name", "");
	const struct server_step *step = server_step_find(name);

	if (!step)
		return error_set(error, ERROR_INTERNAL, "there is no server step \"%s\"", name);
	return step->make(step, params, files, error);
}
