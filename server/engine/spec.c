#include "server/engine/spec.h"

#include "common/json.h"
#include "server/engine/workflow.h"

#include <stdio.h>
#include <string.h>

static const char default_workflow[] = "fedavg";

static const struct field retention_fields[] = {
	{ "updates", FIELD_INTEGER, "Rounds whose updates are kept, so that `rounds verify` can recompute them",
		.fallback = "10", .min = 0, .max = 1000000 },
	{ "models", FIELD_INTEGER, "Rounds whose models are kept, beside the first, the best and the last",
		.fallback = "10", .min = 1, .max = 1000000 },
	{ "history", FIELD_INTEGER, "Rounds whose tasks, metrics and events are kept", .fallback = "1000", .min = 2,
		.max = 1000000 },
	{ NULL },
};

static const struct field fields[] = {
	{ "name", FIELD_TEXT, "What people call the job", .required = true, .min = 1, .max = 200 },
	{ "project", FIELD_NAME, "The project it belongs to", .fallback = "\"default\"" },
	{ "workflow", FIELD_NAME, "The algorithm: what the server does with the sites' work",
		.fallback = "\"fedavg\"" },
	{ "params", FIELD_OBJECT, "The workflow's parameters", .fallback = "{}" },
	{ "executor", FIELD_NAME, "The program, as the sites' administrators named it, that does the work",
		.fallback = "\"trainer\"" },
	{ "dataset", FIELD_NAME, "The data, as the sites' administrators named it", .required = true },
	{ "trainer", FIELD_OBJECT, "Parameters for the executor, passed on as they are", .fallback = "{}" },
	{ "share", FIELD_TEXTS,
		"Patterns of the tensors that travel, such as \"*lora*\"; all others stay at their site",
		.fallback = "[\"*\"]", .min = 1, .max = 1000 },
	{ "sites", FIELD_NAMES, "The sites that may take part; none: every site that offers dataset and executor",
		.fallback = "[]", .min = 0, .max = 10000 },
	{ "required_sites", FIELD_NAMES, "Sites without which the job does not start", .fallback = "[]", .min = 0,
		.max = 10000 },
	{ "min_sites", FIELD_INTEGER,
		"How many sites must be there to start; 0: all of `sites`, or if that is empty all that offer dataset and "
		"executor when the job is submitted, connected or not",
		.fallback = "0", .min = 0, .max = 10000 },
	{ "late_sites", FIELD_TEXT,
		"Sites that come after the start: ignore them, or let them join from the next round on (where a round is a sum "
		"over whoever was in it)",
		.fallback = "\"ignore\"", .choices = { "ignore", "join" } },
	{ "priority", FIELD_INTEGER, "Jobs of higher priority start first", .fallback = "0", .min = -100,
		.max = 100 },
	{ "seed", FIELD_INTEGER, "All randomness of the job follows from it", .fallback = "1", .min = 0,
		.max = 9007199254740991 },
	{ "initial_model", FIELD_DIGEST,
		"An uploaded safetensors file to begin with; none: the first site's executor makes one" },
	{ "lease_seconds", FIELD_INTEGER, "A site that has not been heard of for so long loses its task to a new try",
		.fallback = "60", .min = 1, .max = 86400 },
	{ "task_timeout_seconds", FIELD_INTEGER, "A task that takes longer fails; 0: no limit", .fallback = "0",
		.min = 0, .max = 31536000 },
	{ "max_attempts", FIELD_INTEGER, "How often a task may fail at its site before it counts as failed",
		.fallback = "3", .min = 1, .max = 1000 },
	{ "max_weight_share", FIELD_NUMBER, "The largest share of a round that one site's sample count may claim",
		.fallback = "1.0", .min = 0, .max = 1, .exclusive = true },
	{ "max_update_norm", FIELD_NUMBER,
		"Updates that lie farther (L2 norm) from the model are refused; 0: no limit", .fallback = "0.0",
		.min = 0, .max = 1e300 },
	{ "retention", FIELD_OBJECT, "How long the job's past is kept", .fallback = "{}",
		.nested = retention_fields },
	{ NULL },
};

static void check_sites(const json_t *spec, json_t *faults)
{
	const json_t *sites = json_object_get(spec, "sites"), *required = json_object_get(spec, "required_sites");
	json_auto_t *named = json_set_of(sites);
	size_t count = json_array_size(sites), i;
	json_t *name;

	json_array_foreach (required, i, name)
		if (count && !json_object_get(named, json_string_value(name)))
			fields_fault(faults, "required_sites", "names \"%s\", which is not among sites",
				json_string_value(name));
	if (count && json_integer_or(spec, "min_sites", 0) > (json_int_t)count)
		fields_fault(faults, "min_sites", "must be at most the number of sites, %zu", count);
}

static void workflow_names(char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (const struct workflow *const *at = workflows; *at && used < size; at++)
		used += (size_t)snprintf(text + used, size - used, "%s\"%s\"", used ? ", " : "", (*at)->name);
}

/* The params of the given spec: whatever else is wrong, their faults are reported too. */
static json_t *check_params(const json_t *given, json_t *faults)
{
	const struct workflow *workflow = workflow_find(json_text_or(given, "workflow", default_workflow));
	const json_t *params = json_object_get(given, "params");
	json_auto_t *none = json_object();
	char known[800];
	json_t *checked;

	if (!workflow) {
		workflow_names(known, sizeof(known));
		fields_fault(faults, "workflow", "must be one of %s", known);
		return NULL;
	}
	checked = fields_apply(workflow->params, params && !json_is_null(params) ? params : none, "params", faults);
	if (checked && workflow->check)
		workflow->check(checked, faults);
	if (!strcmp(json_text_or(given, "late_sites", ""), "join") && !workflow->takes_late_sites)
		fields_fault(
			faults, "late_sites", "%s cannot take sites that come late; use \"ignore\"", workflow->name);
	if (workflow->needs_model && !json_is_string(json_object_get(given, "initial_model")))
		fields_fault(faults, "initial_model", "is needed: the digest of the model that %s is to measure",
			workflow->name);
	return checked;
}

json_t *spec_check(const json_t *given, json_t *faults)
{
	json_auto_t *none = json_object();
	json_t *spec = fields_apply(fields, given, "", faults);
	json_t *params = json_is_object(given) ? check_params(given, faults) : NULL;
	json_t *retention = json_object_get(spec, "retention");

	if (spec)
		check_sites(spec, faults);
	if (params)
		json_object_set_new(spec, "params", params);
	/* A default of {} has not been through the nested table. */
	if (spec && json_object_size(retention) == 0)
		json_object_set_new(spec, "retention", fields_apply(retention_fields, none, "retention", faults));
	/* What late work was trained from must still be there when it comes. */
	if (spec && json_integer_or(params, "max_staleness", -1) >=
			    json_integer_or(json_object_get(spec, "retention"), "models", 10))
		fields_fault(faults, "params.max_staleness", "must be less than retention.models");
	if (json_array_size(faults) == 0)
		return spec;
	json_decref(spec);
	return NULL;
}

json_t *spec_schema(void)
{
	json_t *schema = fields_schema(fields), *properties = json_object_get(schema, "properties");
	json_t *names = json_array(), *rules = json_array();

	for (const struct workflow *const *at = workflows; *at; at++) {
		json_t *params = fields_schema((*at)->params);

		json_t *rule = json_pack("{s:{s:{s:{s:s}}}, s:{s:{s:o}}}", "if", "properties", "workflow", "const",
			(*at)->name, "then", "properties", "params", params);

		/* The default workflow's rule also holds where none is named. */
		if (strcmp((*at)->name, default_workflow) != 0)
			json_object_set_new(json_object_get(rule, "if"), "required", json_pack("[s]", "workflow"));
		if ((*at)->needs_model)
			json_object_set_new(
				json_object_get(rule, "then"), "required", json_pack("[s]", "initial_model"));
		json_object_set_new(params, "description", json_string((*at)->summary));
		json_array_append_new(names, json_string((*at)->name));
		json_array_append_new(rules, rule);
	}
	json_object_del(json_object_get(properties, "workflow"), "pattern");
	json_object_set_new(json_object_get(properties, "workflow"), "enum", names);
	json_object_set_new(schema, "allOf", rules);
	json_object_set_new(schema, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
	json_object_set_new(schema, "title", json_string("A Rounds job"));
	return schema;
}
