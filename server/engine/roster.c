#include "server/engine/roster.h"

#include "server/engine/internal.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/text.h"
#include "server/store/identities.h"

#include <stdio.h>
#include <string.h>

enum { NAMES_IN_WORDS = 10 };

/* In the order in which people should hear of them. */
static const struct {
	const char *state;
	const char *one, *several; /* after the names */
	bool names_dataset, names_executor;
} obstacles[] = {
	{ "unknown", "has never joined", "have never joined" },
	{ "away", "is not connected", "are not connected" },
	{ "no_dataset", "does not offer the dataset", "do not offer the dataset", .names_dataset = true },
	{ "no_executor", "does not offer the executor", "do not offer the executor", .names_executor = true },
	{ "busy", "is busy with other jobs", "are busy with other jobs" },
	{ "draining", "is draining", "are draining" },
};

/* What is in the way of a site beside its slots; NULL: nothing. */
static const char *obstacle_of(struct engine *engine, const json_t *site, const json_t *spec)
{
	bool present = engine_site_present(engine, json_text_or(site, "name", ""));

	if (!present && !json_is_string(json_object_get(site, "seen")))
		return "away"; /* it has not said yet what it offers */
	if (!json_lists(json_object_get(site, "datasets"), json_text_or(spec, "dataset", "")))
		return "no_dataset";
	if (!json_lists(json_object_get(site, "executors"), json_text_or(spec, "executor", "")))
		return "no_executor";
	if (strcmp(json_text_or(site, "state", ""), "active") != 0)
		return "draining";
	return present ? NULL : "away";
}

static int judge(struct engine *engine, struct store_tx *tx, const json_t *site, const json_t *spec,
	const char **state, struct rounds_error *error)
{
	int64_t slots;

	*state = obstacle_of(engine, site, spec);
	if (*state)
		return 0;
	if (site_free_slots(tx, json_text_or(site, "name", ""), &slots, error))
		return -1;
	*state = slots > 0 ? "ready" : "busy";
	return 0;
}

/* When it was last heard of: in this process, or else as its row has it. A new reference; NULL if never. */
static json_t *heard(struct engine *engine, const json_t *site)
{
	int64_t wall = presence_heard(engine->presence, json_text_or(site, "name", ""));
	char text[TIME_TEXT_SIZE];

	if (wall == 0)
		return json_is_string(json_object_get(site, "seen")) ? json_incref(json_object_get(site, "seen"))
								     : NULL;
	time_format(wall, text);
	return json_string(text);
}

/* Takes `since`. */
static void add_entry(json_t *roster, const char *site, const char *state, json_t *since)
{
	bool away = !strcmp(state, "away");

	json_array_append_new(
		roster, json_pack("{s:s, s:s, s:O?}", "site", site, "state", state, "since", away ? since : NULL));
	json_decref(since);
}

/* Those that the job names and nobody knows. */
static void add_unknown(const json_t *wanted, const json_t *sites, json_t *roster)
{
	json_auto_t *known = json_object();
	size_t i;
	json_t *name, *site;

	json_array_foreach (sites, i, site)
		if (strcmp(json_text_or(site, "state", ""), "removed") != 0)
			json_object_set_new(known, json_text_or(site, "name", ""), json_true());
	json_array_foreach (wanted, i, name)
		if (!json_object_get(known, json_string_value(name)))
			add_entry(roster, json_string_value(name), "unknown", NULL);
}

int roster_of(struct engine *engine, struct store_tx *tx, const json_t *spec, const json_t *sites, json_t **roster,
	struct rounds_error *error)
{
	const json_t *wanted = json_object_get(spec, "sites");
	json_auto_t *made = json_array(), *named = json_set_of(wanted);
	size_t i;
	json_t *site;

	json_array_foreach (sites, i, site) {
		const char *name = json_text_or(site, "name", ""), *state = NULL;

		if (!strcmp(json_text_or(site, "state", ""), "removed") ||
			(json_array_size(wanted) && !json_object_get(named, name)))
			continue;
		if (judge(engine, tx, site, spec, &state, error))
			return -1;
		add_entry(made, name, state, heard(engine, site));
	}
	add_unknown(wanted, sites, made);
	*roster = json_incref(made);
	return made ? 0 : error_no_memory(error);
}

size_t roster_count(const json_t *roster, const char *state)
{
	size_t count = 0, i;
	json_t *entry;

	json_array_foreach (roster, i, entry)
		count += !strcmp(json_text_or(entry, "state", ""), state);
	return count;
}

json_t *roster_able(const json_t *roster)
{
	json_t *able = json_object(), *entry;
	size_t i;

	json_array_foreach (roster, i, entry) {
		const char *state = json_text_or(entry, "state", "");

		if (!strcmp(state, "ready") || !strcmp(state, "busy") || !strcmp(state, "away"))
			json_object_set_new(able, json_text_or(entry, "site", ""), json_true());
	}
	return able;
}

json_t *roster_ready(const json_t *roster)
{
	json_t *names = json_array(), *entry;
	size_t i;

	json_array_foreach (roster, i, entry)
		if (!strcmp(json_text_or(entry, "state", ""), "ready"))
			json_array_append(names, json_object_get(entry, "site"));
	return names;
}

size_t roster_least(const json_t *spec, const json_t *roster)
{
	size_t wanted = json_array_size(json_object_get(spec, "sites")), offering = 0, i;
	size_t given = (size_t)json_integer_or(spec, "min_sites", 0);
	json_t *entry;

	if (given > 0)
		return given;
	if (wanted > 0)
		return wanted;
	json_array_foreach (roster, i, entry) {
		const char *state = json_text_or(entry, "state", "");

		/* One that was never heard of has not said what it offers. */
		offering += !strcmp(state, "ready") || !strcmp(state, "busy") ||
			    (!strcmp(state, "away") && json_is_string(json_object_get(entry, "since")));
	}
	return offering ? offering : 1;
}

/* "b (last heard of 2026-01-02T03:04:05Z), c and 4 more are not connected" */
static void say_obstacle(FILE *out, const json_t *spec, const json_t *roster, size_t at)
{
	size_t count = roster_count(roster, obstacles[at].state), said = 0, i;
	json_t *entry;

	json_array_foreach (roster, i, entry) {
		const char *since = json_text_or(entry, "since", NULL);

		if (strcmp(json_text_or(entry, "state", ""), obstacles[at].state) != 0 || said == NAMES_IN_WORDS)
			continue;
		fprintf(out, "%s%s",
			said == 0           ? ""
			: said + 1 == count ? " and "
					    : ", ",
			json_text_or(entry, "site", ""));
		if (since)
			fprintf(out, " (last heard of %.19sZ)", since);
		said++;
	}
	if (count > said)
		fprintf(out, " and %zu more", count - said);
	fprintf(out, " %s", count == 1 ? obstacles[at].one : obstacles[at].several);
	if (obstacles[at].names_dataset)
		fprintf(out, " \"%s\"", json_text_or(spec, "dataset", ""));
	if (obstacles[at].names_executor)
		fprintf(out, " \"%s\"", json_text_or(spec, "executor", ""));
}

char *roster_reason(const json_t *spec, const json_t *roster, size_t least)
{
	const json_t *required = json_object_get(spec, "required_sites");
	json_auto_t *ready = roster_ready(roster), *there = json_set_of(ready);
	size_t size, missing = 0, i, said = 0;
	json_t *name;
	char *text = NULL;
	FILE *out;

	json_array_foreach (required, i, name)
		missing += !json_object_get(there, json_string_value(name));
	if (missing == 0 && json_array_size(ready) >= least)
		return NULL;
	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	fprintf(out, "%zu of at least %zu sites %s ready", json_array_size(ready), least,
		json_array_size(ready) == 1 ? "is" : "are");
	json_array_foreach (required, i, name)
		if (!json_object_get(there, json_string_value(name)))
			fprintf(out, "; the job cannot do without %s", json_string_value(name));
	for (i = 0; i < ARRAY_SIZE(obstacles); i++) {
		if (roster_count(roster, obstacles[i].state) == 0)
			continue;
		fputs(said++ ? "; " : ": ", out);
		say_obstacle(out, spec, roster, i);
	}
	fclose(out);
	return text;
}
