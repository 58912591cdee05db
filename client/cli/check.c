/* `rounds job check`: everything that a submission would say and do, without submitting. */
#include "client/cli/cli.h"

#include "common/json.h"

#include <stdio.h>

static void print_faults(const json_t *faults)
{
	size_t i;
	json_t *fault;

	json_array_foreach (faults, i, fault) {
		scoped(text_free) char *field = value_text(json_object_get(fault, "field"));
		scoped(text_free) char *message = value_text(json_object_get(fault, "message"));

		printf("  %s%s%s\n", field && field[0] ? field : "the job", " ", message ? message : "");
	}
}

void print_warnings(FILE *to, const json_t *warnings)
{
	size_t i;
	json_t *warning;

	json_array_foreach (warnings, i, warning) {
		scoped(text_free) char *text = value_text(warning);

		fprintf(to, "Warning: %s\n", text ? text : "");
	}
}

/* What a site tells of its table goes into columns of its own; what it does not tell is "not told". */
static void spread_tables(json_t *sites)
{
	static const char *const names[] = { "rows", "label" };
	size_t i;
	json_t *site;

	json_array_foreach (sites, i, site) {
		const json_t *table = json_object_get(site, "table");

		for (size_t at = 0; at < ARRAY_SIZE(names); at++) {
			json_t *told = json_object_get(table, names[at]);

			if (told && !json_is_null(told))
				json_object_set(site, names[at], told);
			else
				json_object_set_new(site, names[at], json_string("not told"));
		}
	}
}

static void print_report(json_t *report)
{
	static const struct column columns[] = { { "SITE", "site" }, { "STATE", "state" },
		{ "LAST HEARD OF", "since" }, { "ROWS", "rows" }, { "LABEL", "label" }, { NULL, NULL } };
	static const struct column sent[] = { { "dataset", "dataset" }, { "executor", "executor" },
		{ "parameters", "trainer" }, { "tensors", "share" }, { "first model", "initial_model" },
		{ "seed", "seed" }, { NULL, NULL } };
	json_t *sites = json_object_get(report, "sites");
	scoped(text_free) char *reason = value_text(json_object_get(report, "reason"));

	print_warnings(stdout, json_object_get(report, "warnings"));
	spread_tables(sites);
	print_table(sites, columns);
	if (json_is_null(json_object_get(report, "reason")))
		puts("\nSubmitted now, it would start at once.");
	else
		printf("\nSubmitted now, it would wait: %s.\n", reason ? reason : "");
	puts("Each site would be sent, and nothing else but models:");
	print_object(json_object_get(report, "sent"), sent);
}

int job_check(struct cli *cli, struct rounds_error *error)
{
	json_auto_t *spec = NULL, *report = NULL;
	bool valid;

	if (json_parse_file(cli_word(cli, 0), &spec, error) ||
		cli_post(cli, "/api/v1/jobs/check", spec, &report, error))
		return -1;
	valid = json_bool_or(report, "valid", false);
	if (cli->json) {
		print_json(report);
		return valid ? EXIT_DONE : EXIT_USAGE;
	}
	if (!valid) {
		puts("The server would refuse this job:");
		print_faults(json_object_get(report, "faults"));
	}
	if (json_is_object(json_object_get(report, "sent")))
		print_report(report);
	return valid ? EXIT_DONE : EXIT_USAGE;
}
