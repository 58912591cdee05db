/*
 * What the sites of a job have agreed on before they train: the schema that its model carries, who differs from it, and who has
 * none of the columns that the job itself names (trainer.ignore, trainer.categories). A column that nobody has is the job's fault.
 */
#include "server/engine/internal.h"

#include "common/json.h"
#include "common/tensors.h"
#include "common/text.h"
#include "server/store/identities.h"
#include "server/store/jobs.h"
#include "server/store/tasks.h"

#include <stdio.h>
#include <string.h>

enum { NAMES_IN_WORDS = 10 };

static const char *const members[] = { "ignore", "categories" };

/* The columns that the job names there: a new reference. */
json_t *spec_columns(const json_t *spec, const char *member)
{
	const json_t *said = json_object_get(json_object_get(spec, "trainer"), member);
	json_t *names = json_array(), *value;
	const char *name;
	size_t i;

	json_object_foreach ((json_t *)(uintptr_t)said, name, value)
		json_array_append_new(names, json_text(name));
	json_array_foreach (said, i, value)
		if (json_is_string(value) && !json_lists(names, json_string_value(value)))
			json_array_append(names, value);
	return names;
}

/* In the job's own words and no others, in its order: a new reference. */
static json_t *in_own_words(const json_t *spec, const json_t *told)
{
	json_t *lacks = json_object();

	for (size_t m = 0; m < ARRAY_SIZE(members); m++) {
		json_auto_t *named = spec_columns(spec, members[m]);
		json_t *names = json_array(), *name;
		size_t i;

		json_array_foreach (named, i, name)
			if (json_lists(json_object_get(told, members[m]), json_string_value(name)))
				json_array_append(names, name);
		json_object_set_new(lacks, members[m], names);
	}
	return lacks;
}

/* "\"a\", \"b\" and 3 more (trainer.ignore)"; whether there is any. */
static bool say_names(FILE *out, const json_t *names, const char *member)
{
	size_t i, count = json_array_size(names);
	json_t *name;

	json_array_foreach (names, i, name)
		if (i < NAMES_IN_WORDS)
			fprintf(out, "%s\"%s\"", i ? ", " : "", json_string_value(name));
	if (count > NAMES_IN_WORDS)
		fprintf(out, " and %zu more", count - NAMES_IN_WORDS);
	if (count)
		fprintf(out, " (trainer.%s)", member);
	return count > 0;
}

/* NULL if there are none; the caller frees. */
static char *columns_in_words(const json_t *lacks)
{
	size_t size;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);
	bool any = false;

	if (!out)
		return NULL;
	for (size_t m = 0; m < ARRAY_SIZE(members); m++) {
		const json_t *names = json_object_get(lacks, members[m]);

		if (any && json_array_size(names))
			fputs(" and ", out);
		any = say_names(out, names, members[m]) || any;
	}
	fclose(out);
	if (any)
		return text;
	free(text);
	return NULL;
}

int schema_note_lacks(struct engine *engine, struct store_tx *tx, const json_t *job, const json_t *task,
	const json_t *told, struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", ""), *site = json_text_or(task, "site", "");
	json_auto_t *lacks = NULL;
	scoped(text_free) char *words = NULL;
	bool changed;
	char text[900];

	if (!json_is_object(told))
		return 0;
	lacks = in_own_words(json_object_get(job, "spec"), told);
	if (job_set_lacks(tx, id, site, lacks, &changed, error))
		return -1;
	if (!changed)
		return 0;
	words = columns_in_words(lacks);
	if (!words)
		return 0;
	text_print(text, sizeof(text), "%s has no column %s, which the job names", site, words);
	return note(engine, tx, id, json_integer_or(task, "round", -1), "note", site, text, error);
}

/* What everybody lacks who has told: a new reference. */
static json_t *lacked_by_all(const json_t *spec, const json_t *lacks)
{
	json_t *common = json_object();

	for (size_t m = 0; m < ARRAY_SIZE(members); m++) {
		json_t *names = spec_columns(spec, members[m]), *row;
		size_t at;

		json_array_foreach (lacks, at, row)
			for (size_t i = json_array_size(names); i-- > 0;)
				if (!json_lists(json_object_get(json_object_get(row, "lacks"), members[m]),
					    json_string_value(json_array_get(names, i))))
					json_array_remove(names, i);
		json_object_set_new(common, members[m], names);
	}
	return common;
}

/* Whether every site of the job has told, but for those that the round goes on without. */
static int all_have_told(struct store_tx *tx, const char *job, int64_t round, const json_t *lacks, bool *told,
	struct rounds_error *error)
{
	json_auto_t *sites = NULL, *tasks = NULL, *settled = json_object();
	size_t i;
	json_t *row;

	if (job_sites(tx, job, &sites, error) || task_list(tx, job, round, &tasks, error))
		return -1;
	json_array_foreach (lacks, i, row)
		json_object_set_new(settled, json_text_or(row, "site", ""), json_true());
	json_array_foreach (tasks, i, row)
		if (!strcmp(json_text_or(row, "state", ""), "failed") ||
			!strcmp(json_text_or(row, "state", ""), "cancelled"))
			json_object_set_new(settled, json_text_or(row, "site", ""), json_true());
	*told = true;
	json_array_foreach (sites, i, row)
		*told = *told && json_object_get(settled, json_text_or(row, "site", ""));
	return 0;
}

int schema_fault(struct store_tx *tx, const json_t *job, int64_t round, char **fault, struct rounds_error *error)
{
	const char *id = json_text_or(job, "id", "");
	json_auto_t *lacks = NULL, *common = NULL;
	scoped(text_free) char *words = NULL;
	bool told = false;

	*fault = NULL;
	if (job_lacks(tx, id, &lacks, error))
		return -1;
	if (json_array_size(lacks) == 0)
		return 0;
	common = lacked_by_all(json_object_get(job, "spec"), lacks);
	words = columns_in_words(common);
	if (!words)
		return 0;
	if (all_have_told(tx, id, round, lacks, &told, error))
		return -1;
	if (!told)
		return 0;
	*fault = text_new("no site has a column %s: correct the name, or take it out of the job", words);
	return *fault ? 0 : error_no_memory(error);
}

/* The schema that the model carries: a new reference; NULL if it carries none, or is not there any more. */
static json_t *schema_of_blob(struct engine *engine, const char *text)
{
	scoped(view_release) struct view view = { 0 };
	scoped(tensor_file_close) struct tensor_file file = { 0 };
	struct rounds_error ignored = { 0 };
	struct digest digest;
	const char *said;
	json_t *schema = NULL;

	if (!text || !digest_parse(text, &digest) || blob_hold(engine->options.blobs, &digest, &view, &ignored) ||
		tensor_file_of(&view, &file, &ignored))
		return NULL;
	said = tensors_metadata(file.tensors, SCHEMA_KEY);
	if (!said || json_parse(said, strlen(said), &schema, &ignored))
		return NULL;
	if (json_is_object(schema))
		return schema;
	json_decref(schema);
	return NULL;
}

static json_t *digest_of_schema(const json_t *schema)
{
	scoped(text_free) char *text = schema ? json_canonical(schema) : NULL;
	char digest_text[DIGEST_TEXT_SIZE];
	struct digest digest;

	if (!text)
		return json_null();
	digest_of(text, strlen(text), &digest);
	digest_format(&digest, digest_text);
	return json_string(digest_text);
}

/* Which column a difference is about, what the model has there and what the site told of its own; NULL: not told. */
struct difference {
	const json_t *column, *expected, *found;
};

/* The first column that a site has told of, and that the model and the job have no use for. */
static const json_t *column_too_many(const json_t *schema, const json_t *table, const json_t *ignored)
{
	size_t i;
	json_t *name;

	json_array_foreach (json_object_get(table, "columns"), i, name)
		if (!json_lists(json_object_get(schema, "features"), json_string_value(name)) &&
			!json_lists(ignored, json_string_value(name)))
			return name;
	return NULL;
}

static struct difference difference_of(
	const json_t *schema, const json_t *failure, const json_t *table, const json_t *ignored)
{
	const char *role = json_text_or(failure, "role", "");
	int64_t at = json_integer_or(failure, "column", 0) - 1;
	const json_t *feature = at < 0 ? NULL : json_array_get(json_object_get(schema, "features"), (size_t)at);
	const json_t *label = json_object_get(schema, "label");

	if (!strcmp(role, "features"))
		return (struct difference){ feature, feature, NULL };
	if (!strcmp(role, "categories") && feature)
		return (struct difference){ feature,
			json_object_get(json_object_get(schema, "categories"), json_string_value(feature)), NULL };
	if (!strcmp(role, "path")) {
		const json_t *more = column_too_many(schema, table, ignored);

		return (struct difference){ more, NULL, more };
	}
	if (!strcmp(role, "label"))
		return (struct difference){ label, label, json_object_get(table, "label") };
	return (struct difference){ label, json_object_get(schema, "classes"), NULL };
}

/* What is wrong, by role, and what would be right. */
static const struct {
	const char *role, *what;
} differences[] = {
	{ "features", "its table has no such column: add it, name it so, or leave the job" },
	{ "path", "its table has this column more: `ignore` it in site.json, or the job must" },
	{ "categories",
		"other values: the same `categories` in site.json, or the job must list all (trainer.categories)" },
	{ "label", "another label: name the columns alike" },
	{ "classes", "other classes, or in another order: the same `classes` in site.json, or the job must list them "
		     "(trainer.classes)" },
};

static const char *what_differs(const char *role)
{
	for (size_t i = 0; i < ARRAY_SIZE(differences); i++)
		if (!strcmp(differences[i].role, role))
			return differences[i].what;
	return "its table";
}

static json_t *describe_difference(const json_t *schema, const json_t *spec, const json_t *task, const json_t *site)
{
	const json_t *failure = json_object_get(task, "failure");
	const json_t *table = json_object_get(json_object_get(site, "tables"), json_text_or(spec, "dataset", ""));
	const char *role = json_text_or(failure, "role", "");
	json_auto_t *ignored = spec_columns(spec, "ignore");
	const struct difference difference = difference_of(schema, failure, table, ignored);

	return json_pack("{s:O, s:s, s:s, s:O?, s:O?, s:O?, s:O?, s:s, s:O, s:O, s:O?}", "site",
		json_object_get(task, "site"), "kind", json_text_or(failure, "kind", ""), "role", role, "place",
		json_object_get(failure, "column"), "column", difference.column, "expected", difference.expected,
		"found", difference.found, "what", what_differs(role), "since", json_object_get(task, "finished"),
		"round", json_object_get(task, "round"), "ref", json_object_get(failure, "ref"));
}

struct asking {
	struct engine *engine;
	const char *id;
	json_t *job, *tasks, *sites, *lacks, *maker;
};

static int read_facts(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct asking *asking = argument;

	return job_find(tx, asking->id, &asking->job, error) ||
			       task_list_differing(tx, asking->id, &asking->tasks, error) ||
			       task_maker(tx, asking->id, &asking->maker, error) ||
			       site_list(tx, &asking->sites, error) ||
			       job_lacks(tx, asking->id, &asking->lacks, error)
		       ? -1
		       : 0;
}

static const json_t *site_named(const json_t *sites, const json_t *name)
{
	size_t i;
	json_t *site;

	json_array_foreach (sites, i, site)
		if (json_equal(json_object_get(site, "name"), name))
			return site;
	return NULL;
}

/* [{"site", "ignore": [name], "categories": [name]}] of those that lack any: a new reference. */
static json_t *list_lacks(const json_t *lacks)
{
	json_t *list = json_array(), *row;
	size_t i;

	json_array_foreach (lacks, i, row) {
		const json_t *told = json_object_get(row, "lacks");
		json_t *entry = json_pack("{s:O}", "site", json_object_get(row, "site"));
		size_t count = 0;

		for (size_t m = 0; m < ARRAY_SIZE(members); m++) {
			count += json_array_size(json_object_get(told, members[m]));
			json_object_set(entry, members[m], json_object_get(told, members[m]));
		}
		if (count > 0)
			json_array_append(list, entry);
		json_decref(entry);
	}
	return list;
}

int engine_schema(struct engine *engine, const char *job, json_t **answer, struct rounds_error *error)
{
	struct asking asking = { .engine = engine, .id = job };
	json_auto_t *schema = NULL, *differs = json_array();
	const json_t *spec;
	const char *model;
	size_t i;
	json_t *task;
	int failed = store_read(engine->options.store, read_facts, &asking, error);

	if (!failed) {
		spec = json_object_get(asking.job, "spec");
		model = json_text_or(asking.job, "model", json_text_or(spec, "initial_model", NULL));
		schema = schema_of_blob(engine, model);
		json_array_foreach (asking.tasks, i, task)
			json_array_append_new(
				differs, describe_difference(schema, spec, task,
						 site_named(asking.sites, json_object_get(task, "site"))));
		*answer = json_pack("{s:s?, s:O?, s:{s:o, s:O?, s:O?, s:O?, s:O?}, s:O, s:o}", "model", model,
			"made_by", json_object_get(asking.maker, "site"), "schema", "digest",
			digest_of_schema(schema), "features", json_object_get(schema, "features"), "categories",
			json_object_get(schema, "categories"), "label", json_object_get(schema, "label"), "classes",
			json_object_get(schema, "classes"), "differs", differs, "lacks", list_lacks(asking.lacks));
		failed = *answer ? 0 : error_no_memory(error);
	}
	json_decref(asking.job);
	json_decref(asking.tasks);
	json_decref(asking.sites);
	json_decref(asking.lacks);
	json_decref(asking.maker);
	return failed;
}
