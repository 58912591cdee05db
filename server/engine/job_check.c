/* What is odd about a job though it is well-formed, and what it would do: said before it waits for nobody. */
#include "server/engine/internal.h"

#include "common/json.h"
#include "common/text.h"
#include "server/engine/roster.h"
#include "server/engine/spec.h"
#include "server/store/blob_index.h"
#include "server/store/identities.h"

#include <string.h>

static void warn(json_t *warnings, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(json_t *warnings, const char *format, ...)
{
	char text[400];
	va_list arguments;

	va_start(arguments, format);
	text_print_from(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_array_append_new(warnings, json_string(text));
}

/* The name that is meant, maybe: at most a third of it mistyped. */
struct guess {
	const char *wanted, *nearest;
	size_t distance;
};

/* So many names that nobody knows are compared with all that are known; of more, it is only said that they are not known. */
enum { GUESSES = 20 };

static void guess_from(struct guess *guess, const char *name)
{
	size_t distance = text_distance(guess->wanted, name);

	if (distance > strlen(guess->wanted) / 3 + 1 || (guess->nearest && distance >= guess->distance))
		return;
	guess->nearest = name;
	guess->distance = distance;
}

static bool takes_part(const json_t *site)
{
	return strcmp(json_text_or(site, "state", ""), "removed") != 0;
}

/* A dataset or an executor that no site offers. */
static void check_offer(
	const json_t *spec, const json_t *sites, const char *key, const char *offers, json_t *warnings)
{
	struct guess guess = { .wanted = json_text_or(spec, key, "") };
	size_t i, j;
	json_t *site, *name;

	json_array_foreach (sites, i, site) {
		if (!takes_part(site))
			continue;
		json_array_foreach (json_object_get(site, offers), j, name) {
			if (!strcmp(json_string_value(name), guess.wanted))
				return;
			guess_from(&guess, json_string_value(name));
		}
	}
	warn(warnings, "no site offers the %s \"%s\"%s%s%s", key, guess.wanted,
		guess.nearest ? "; did you mean \"" : "", guess.nearest ? guess.nearest : "",
		guess.nearest ? "\"?" : "");
}

static void check_names(const json_t *spec, const json_t *sites, const char *key, json_t *warnings)
{
	json_auto_t *known = json_object();
	size_t i, guessed = 0;
	json_t *wanted, *site;
	const char *name;

	json_array_foreach (sites, i, site)
		if (takes_part(site))
			json_object_set(known, json_text_or(site, "name", ""), site);
	json_array_foreach (json_object_get(spec, key), i, wanted) {
		struct guess guess = { .wanted = json_string_value(wanted) };

		if (json_object_get(known, guess.wanted))
			continue;
		if (guessed++ < GUESSES)
			json_object_foreach (known, name, site)
				guess_from(&guess, name);
		warn(warnings, "no site \"%s\" has joined%s%s%s", guess.wanted,
			guess.nearest ? "; did you mean \"" : "", guess.nearest ? guess.nearest : "",
			guess.nearest ? "\"?" : "");
	}
}

/* Columns that the job names and no site has, as far as all who may take part tell of theirs. */
static void check_columns(
	const json_t *spec, const json_t *sites, const json_t *roster, const char *member, json_t *warnings)
{
	json_auto_t *named = spec_columns(spec, member), *able = roster_able(roster);
	const char *dataset = json_text_or(spec, "dataset", "");
	size_t i, j, k;
	json_t *wanted, *site, *column;

	json_array_foreach (named, i, wanted) {
		struct guess guess = { .wanted = json_string_value(wanted) };
		size_t have = 0, tell = 0;

		json_array_foreach (sites, j, site) {
			const json_t *columns = json_object_get(
				json_object_get(json_object_get(site, "tables"), dataset), "columns");

			if (!json_object_get(able, json_text_or(site, "name", "")))
				continue;
			tell += json_is_array(columns);
			have += !json_is_array(columns) || json_lists(columns, guess.wanted);
			json_array_foreach (columns, k, column)
				guess_from(&guess, json_string_value(column));
		}
		if (tell > 0 && have == 0)
			warn(warnings, "no site tells of a column \"%s\" (trainer.%s)%s%s%s", guess.wanted, member,
				guess.nearest ? "; did you mean \"" : "", guess.nearest ? guess.nearest : "",
				guess.nearest ? "\"?" : "");
	}
}

json_t *job_warnings(const json_t *spec, const json_t *sites, const json_t *roster)
{
	json_t *warnings = json_array();
	size_t least = roster_least(spec, roster), able = json_array_size(roster);

	check_offer(spec, sites, "dataset", "datasets", warnings);
	check_offer(spec, sites, "executor", "executors", warnings);
	check_names(
		spec, sites, json_array_size(json_object_get(spec, "sites")) ? "sites" : "required_sites", warnings);
	able -= roster_count(roster, "unknown") + roster_count(roster, "no_dataset") +
		roster_count(roster, "no_executor");
	if (least > able && json_array_size(warnings) == 0)
		warn(warnings,
			"the job waits for %zu sites, and %zu could take part; `min_sites` says how many suffice",
			least, able);
	check_columns(spec, sites, roster, "ignore", warnings);
	check_columns(spec, sites, roster, "categories", warnings);
	return warnings;
}

struct checking {
	struct engine *engine;
	const json_t *spec;
	json_t *faults, *report;
};

/* Each site's verdict, with what it tells of the dataset: null where it does not. */
static void add_tables(const json_t *spec, const json_t *sites, json_t *roster)
{
	size_t i, j;
	json_t *entry, *site;

	json_array_foreach (roster, i, entry)
		json_array_foreach (sites, j, site) {
			const json_t *table = json_object_get(
				json_object_get(site, "tables"), json_text_or(spec, "dataset", ""));

			if (json_equal(json_object_get(site, "name"), json_object_get(entry, "site")))
				json_object_set_new(entry, "table", table ? json_deep_copy(table) : json_null());
		}
}

/* What every site is told; data never travel, so this is all. */
static json_t *what_is_sent(const json_t *spec)
{
	static const char *const names[] = { "dataset", "executor", "trainer", "share", "initial_model", "seed" };
	json_t *sent = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		json_object_set(sent, names[i], json_object_get(spec, names[i]));
	return sent;
}

static int check_job(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct checking *checking = argument;
	const json_t *spec = checking->spec;
	json_auto_t *sites = NULL, *roster = NULL, *blob = NULL;
	const char *model = json_text_or(spec, "initial_model", NULL);
	scoped(text_free) char *reason = NULL;

	if (site_list(tx, &sites, error) || roster_of(checking->engine, tx, spec, sites, &roster, error) ||
		(model && blob_index_find(tx, model, &blob, error)))
		return -1;
	if (model && !blob)
		fields_fault(checking->faults, "initial_model", "has not been uploaded to this server");
	reason = roster_reason(spec, roster, roster_least(spec, roster));
	add_tables(spec, sites, roster);
	checking->report = json_pack("{s:o, s:I, s:s?, s:O, s:o, s:O}", "warnings", job_warnings(spec, sites, roster),
		"min_sites_effective", (json_int_t)roster_least(spec, roster), "reason", reason, "sites", roster,
		"sent", what_is_sent(spec), "spec", spec);
	return checking->report ? 0 : error_no_memory(error);
}

int engine_check_job(struct engine *engine, const json_t *given, json_t **report, struct rounds_error *error)
{
	json_auto_t *faults = json_array(), *spec = spec_check(given, faults);
	struct checking checking = { .engine = engine, .spec = spec, .faults = faults };

	if (spec && store_read(engine->options.store, check_job, &checking, error))
		return -1;
	/* A job that is not well-formed has no sites yet. */
	*report = checking.report ? checking.report
				  : json_pack("{s:[], s:n, s:n, s:[], s:n, s:n}", "warnings", "min_sites_effective",
					    "reason", "sites", "sent", "spec");
	json_object_set_new(*report, "valid", json_boolean(json_array_size(faults) == 0));
	json_object_set(*report, "faults", faults);
	return *report ? 0 : error_no_memory(error);
}
