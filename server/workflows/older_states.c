/*
 * States as servers before 0.2 wrote them: they hold the results of the round and the names of its sites, where today's count
 * them and ask the tasks' rows for the rest.
 */
#include "server/engine/workflow.h"

static void count_of(json_t *state, const char *name, const char *counter)
{
	json_t *held = json_object_get(state, name);
	size_t count = json_is_array(held) ? json_array_size(held) : json_object_size(held);

	if (!json_is_array(held) && !json_is_object(held))
		return;
	json_object_del(state, name);
	json_object_set_new(state, counter, json_integer((json_int_t)count));
}

void state_renew(json_t *state)
{
	count_of(state, "cohort", "cohort");
	count_of(state, "lost", "lost");
	count_of(state, "results", "answered");
	count_of(state, "models", "models"); /* of cross_site_evaluation */
	json_object_del(json_object_get(state, "measuring"), "results");
}
