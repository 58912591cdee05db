/*
 * A whole federation on this machine: the real server and the real daemons in a temporary directory, on loopback, each with
 * its own key, certificate and part of the data. What it gives is what a deployment gives, to the bit.
 */
#include "client/cli/cli.h"

#include "client/cli/processes.h"
#include "client/cli/split.h"
#include "client/transfer.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const struct field simulate_flags[] = {
	{ "data", FIELD_TEXT,
		"A CSV file that is split, or a folder with a CSV file or a folder for each site, named by it",
		.required = true, .min = 1, .max = 4096 },
	{ "sites", FIELD_INTEGER, "How many sites, where a file is split (4 unless said)", .min = 1,
		.max = PROCESSES_MOST - 1 },
	{ "split", FIELD_TEXT, "How: even (unless said), dirichlet:ALPHA by the label, or column:NAME", .min = 1,
		.max = 200 },
	{ "label", FIELD_TEXT, "The column to be predicted", .min = 1, .max = 200 },
	{ "classes", FIELD_TEXT, "The label's values in order, with commas, where they are text", .min = 1,
		.max = 4096 },
	{ "dataset", FIELD_TEXT,
		"A JSON file with more of the dataset's settings, as in site.json: categories, ignore...", .min = 1,
		.max = 4096 },
	{ "executor", FIELD_TEXT,
		"The program that does the job's work, such as \"python3 train.py\"; else the built-in trainers",
		.min = 1, .max = 4096 },
	{ "to", FIELD_TEXT, "Where to write the model", .fallback = "\"model.safetensors\"", .min = 1, .max = 4096 },
	{ "keep", FIELD_BOOL, "Leave the directory with logs, data and the server's state", .fallback = "false" },
	{ NULL },
};

struct simulation {
	struct cli *cli;
	char *home, *ca, *url;
	json_t *spec, *sites; /* the job; names */
	json_t *dataset;      /* what a site's settings say of its data, beside the path */
};

/* Our own programs lie beside this one, as installed, or in the folder next to it, as built; else the PATH has them. */
static char *program(const char *name)
{
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	while (length > 0 && self[length - 1] != '/')
		length--;
	for (size_t i = 0; length > 0 && i < 2; i++) {
		char *path = i ? text_new("%.*s../server/%s", (int)length, self, name)
			       : text_new("%.*s%s", (int)length, self, name);

		if (path && access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return strdup(name);
}

/* What a program writes into a file, once it does. */
static int read_soon(const char *path, char **text, struct rounds_error *error)
{
	int64_t until = clock_steady_us() + 20 * SECOND_US;
	size_t size;

	while (file_read(path, 100000, text, &size, error) || size == 0) {
		if (clock_steady_us() > until || atomic_load(processes_stop()))
			return error_prefix(error, "the simulated server does not start");
		nanosleep(&(struct timespec){ .tv_nsec = 5 * 1000 * 1000 }, NULL);
	}
	return 0;
}

enum { SITES_UNLESS_SAID = 4 };

static int start_server(struct simulation *sim, struct rounds_error *error)
{
	scoped(text_free) char *server = program("rounds-server");
	scoped(text_free) char *data = text_new("%s/server", sim->home);
	scoped(text_free) char *port_file = text_new("%s/port", sim->home);
	scoped(text_free) char *log = text_new("%s/server.log", sim->home);
	scoped(text_free) char *token_path = text_new("%s/server/admin.token", sim->home);
	scoped(text_free) char *token = NULL;
	scoped(text_free) char *port = NULL;
	struct connection_options options = { .stop = processes_stop() };
	char word[4][20] = { "init", "--data-dir", "--port-file", "--address" };
	char loopback[] = "127.0.0.1", any[] = "0", port_flag[] = "--port";

	sim->ca = text_new("%s/server/ca.pem", sim->home);
	if (!server || !data || !port_file || !log || !token_path || !sim->ca)
		return error_no_memory(error);
	if (processes_run((char *[]){ server, word[0], word[1], data, NULL }, log, NULL, error) ||
		processes_start("server",
			(char *[]){
				server, word[1], data, word[2], port_file, word[3], loopback, port_flag, any, NULL },
			log, error))
		return -1;
	if (read_soon(port_file, &port, error) || read_soon(token_path, &token, error))
		return -1;
	port[strcspn(port, "\n")] = token[strcspn(token, "\n")] = '\0';
	sim->url = text_new("https://localhost:%s", port);
	options.url = sim->url;
	options.ca_file = sim->ca;
	options.token = token;
	return sim->url ? connection_new(&options, &sim->cli->connection, error) : error_no_memory(error);
}

/* The words of a command line, at blanks. The program runs elsewhere, so files that lie here are named in full. */
static json_t *words_of(const char *line)
{
	json_t *words = json_array();

	while (*line) {
		size_t length = strcspn(line, " ");
		scoped(text_free) char *word = strndup(line, length);
		scoped(text_free) char *whole = word && *word && *word != '-' ? realpath(word, NULL) : NULL;

		if (length)
			json_array_append_new(words, json_text(whole ? whole : word ? word : ""));
		line += length + (line[length] == ' ');
	}
	return words;
}

/* This shell's Python, and what limits its threads: on this machine the user is the administrator. */
static json_t *environment(void)
{
	static const char *const names[] = { "PYTHONPATH", "VIRTUAL_ENV", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
		"PYTHONDONTWRITEBYTECODE" };
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (getenv(names[i]))
			json_array_append_new(list, json_sprintf("%s=%s", names[i], getenv(names[i])));
	return list;
}

/* A table, or a folder for programs that read folders. */
static json_t *data_path(const struct simulation *sim, const char *name)
{
	json_t *table = json_sprintf("%s/data/%s.csv", sim->home, name);

	if (access(json_string_value(table), R_OK) == 0)
		return table;
	json_decref(table);
	return json_sprintf("%s/data/%s", sim->home, name);
}

static json_t *site_settings(const struct simulation *sim, const char *name)
{
	const json_t *options = sim->cli->options;
	const char *label = json_text_or(options, "label", NULL), *executor = json_text_or(options, "executor", NULL);
	const char *classes = json_text_or(options, "classes", NULL), *split = json_text_or(options, "split", "");
	json_t *settings = json_pack("{s:o, s:{s:{s:o, s:s*}}}", "state_dir", json_sprintf("%s/%s", sim->home, name),
		"datasets", json_text_or(sim->spec, "dataset", "data"), "path", data_path(sim, name), "label", label);
	json_t *dataset = json_object_get(
		json_object_get(settings, "datasets"), json_text_or(sim->spec, "dataset", "data"));

	json_object_update_missing(dataset, sim->dataset);
	if (!strncmp(split, "column:", 7) && (!label || strcmp(split + 7, label) != 0))
		json_object_set_new(dataset, "ignore", json_pack("[s]", split + 7));
	if (classes) {
		json_t *list = json_array();

		for (const char *at = classes; *at;) {
			size_t length = strcspn(at, ",");

			json_array_append_new(list, json_text_n(at, length));
			at += length + (at[length] == ',');
		}
		json_object_set_new(dataset, "classes", list);
	}
	/* Whoever simulates is the administrator, too: what the program says may be told. */
	json_object_set_new(settings, "executors",
		executor ? json_pack("{s:{s:o, s:o, s:b}}", json_text_or(sim->spec, "executor", ""), "command",
				   words_of(executor), "environment", environment(), "share_log", true)
			 : json_pack("{s:{s:b}}", "trainer", "share_log", true));
	return settings;
}

static int start_site(struct simulation *sim, const char *name, struct rounds_error *error)
{
	scoped(text_free) char *site = program("rounds-site");
	scoped(text_free) char *config = text_new("%s/%s.json", sim->home, name);
	scoped(text_free) char *log = text_new("%s/%s.log", sim->home, name);
	json_auto_t *settings = site_settings(sim, name), *body = json_pack("{s:s}", "site", name), *answer = NULL;
	char join_word[] = "join", config_flag[] = "--config", label[80];

	snprintf(label, sizeof(label), "site %s", name);
	if (!site || !config || !log || !settings)
		return error_no_memory(error);
	if (json_dump_file(settings, config, JSON_INDENT(2)))
		return error_errno(error, "cannot write %s", config);
	if (cli_post(sim->cli, "/api/v1/invitations", body, &answer, error) ||
		processes_run((char *[]){ site, join_word, sim->url, config_flag, config, NULL }, log,
			json_text_or(answer, "invitation", ""), error))
		return -1;
	return processes_start(label, (char *[]){ site, config_flag, config, NULL }, log, error);
}

/* A job that names its sites takes only theirs. */
static bool is_wanted(const struct simulation *sim, const char *name)
{
	const json_t *wanted = json_object_get(sim->spec, "sites");
	size_t i;
	json_t *site;

	json_array_foreach (wanted, i, site)
		if (!strcmp(json_string_value(site) ? json_string_value(site) : "", name))
			return true;
	return json_array_size(wanted) == 0;
}

/* NAME.csv or the folder NAME is the data of the site NAME. */
static int take_data(struct simulation *sim, const char *folder, const char *entry, struct rounds_error *error)
{
	scoped(text_free) char *from = text_new("%s/%s", folder, entry);
	scoped(text_free) char *whole = from ? realpath(from, NULL) : NULL;
	scoped(text_free) char *to = text_new("%s/data/%s", sim->home, entry);
	size_t length = strlen(entry);
	bool table = length > 4 && !strcmp(entry + length - 4, ".csv");
	char name[64];
	struct stat status;

	snprintf(name, sizeof(name), "%.*s", (int)(table ? length - 4 : length), entry);
	if (!whole || !to || stat(whole, &status) || (!table && !S_ISDIR(status.st_mode)) || !name_is_valid(name) ||
		!is_wanted(sim, name))
		return 0;
	if (symlink(whole, to))
		return error_errno(error, "cannot link %s", from);
	json_array_append_new(sim->sites, json_text(name));
	return 0;
}

static int take_folder(struct simulation *sim, const char *folder, struct rounds_error *error)
{
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, NULL, alphasort), failed = 0;

	for (int i = 0; i < count; i++) {
		if (!failed)
			failed = take_data(sim, folder, entries[i]->d_name, error);
		free(entries[i]);
	}
	free(entries);
	if (!failed && json_array_size(sim->sites) == 0)
		return error_set(
			error, ERROR_INVALID, "there is no table and no folder of a site of this job in %s", folder);
	return failed;
}

/* A flag that would do nothing is a misunderstanding: better said now than found out in the results. */
static int check_flags(const json_t *options, bool folder, struct rounds_error *error)
{
	const char *split = json_text_or(options, "split", NULL);
	bool sites = json_object_get(options, "sites") != NULL;

	if (folder && (sites || split))
		return error_field(error, sites ? "--sites" : "--split",
			"is for a file: a folder has a file or a folder for each site");
	if (sites && split && !strncmp(split, "column:", 7))
		return error_field(
			error, "--sites", "does nothing with --split %s, which makes a site of each value", split);
	return 0;
}

/* The job names who does its work. One that names nobody has its work done by the program that was given. */
static int choose_executor(struct simulation *sim, struct rounds_error *error)
{
	const char *named = json_text_or(sim->spec, "executor", NULL);

	if (!json_is_object(sim->spec))
		return error_set(error, ERROR_INVALID, "%s holds no job", cli_word(sim->cli, 0));
	if (json_text_or(sim->cli->options, "executor", NULL))
		return named ? 0 : json_object_set_new(sim->spec, "executor", json_string("script"));
	if (named && strcmp(named, "trainer") != 0)
		return error_field(error, "--executor",
			"is missing: the job names \"%.63s\", and only you know which program that is", named);
	return 0;
}

static int deal_data(struct simulation *sim, struct rounds_error *error)
{
	const json_t *options = sim->cli->options;
	const char *data = json_text_or(options, "data", "");
	scoped(text_free) char *folder = text_new("%s/data", sim->home);
	struct stat status;
	json_t *names = NULL;

	if (stat(data, &status))
		return error_errno(error, "cannot open %s", data);
	if (!folder)
		return error_no_memory(error);
	if (directory_make(folder, 0700, error))
		return -1;
	if (check_flags(options, S_ISDIR(status.st_mode), error))
		return -1;
	if (S_ISDIR(status.st_mode))
		return take_folder(sim, data, error);
	if (split_table(data, sim->dataset, folder, (size_t)json_integer_or(options, "sites", SITES_UNLESS_SAID),
		    json_text_or(options, "split", "even"), json_text_or(options, "label", NULL),
		    (uint64_t)json_integer_or(sim->spec, "seed", 1), &names, error))
		return -1;
	json_decref(sim->sites);
	sim->sites = names;
	/* The parts are written in one way, however the whole was. */
	json_object_del(sim->dataset, "encoding");
	json_object_del(sim->dataset, "delimiter");
	return 0;
}

static int run_job(struct simulation *sim, struct rounds_error *error)
{
	json_auto_t *job = NULL, *done = NULL;
	struct transfer_options options = { 0 };
	const char *to = json_text_or(sim->cli->options, "to", "");
	scoped(text_free) char *path = NULL;
	struct digest digest;
	bool has_model;
	int code;

	json_object_set(sim->spec, "sites", sim->sites);
	if (cli_post(sim->cli, "/api/v1/jobs", sim->spec, &job, error))
		return -1;
	code = watch(sim->cli, json_text_or(job, "id", ""), error);
	path = text_new("/api/v1/jobs/%s", json_text_or(job, "id", ""));
	if (code != EXIT_DONE || !path || cli_get(sim->cli, path, &done, error))
		return code ? code : -1;
	has_model = digest_parse(json_text_or(done, "model", ""), &digest);
	if (has_model && transfer_download(sim->cli->connection, &digest, to, &options, error))
		return -1;
	if (sim->cli->json)
		print_json(done);
	else if (has_model)
		printf("The model: %s\n", to);
	return EXIT_DONE;
}

static int simulate_in(struct simulation *sim, struct rounds_error *error)
{
	size_t i;
	json_t *name;

	sim->sites = json_array();
	if (choose_executor(sim, error) || deal_data(sim, error))
		return -1;
	if (!sim->cli->json)
		printf("%zu sites in %s\n", json_array_size(sim->sites), sim->home);
	if (start_server(sim, error))
		return -1;
	json_array_foreach (sim->sites, i, name)
		if (atomic_load(processes_stop()) || start_site(sim, json_string_value(name), error))
			return -1;
	return run_job(sim, error);
}

int simulate(struct cli *cli, struct rounds_error *error)
{
	const char *temporary = getenv("TMPDIR");
	struct simulation sim = { .cli = cli };
	bool keep = json_bool_or(cli->options, "keep", false);
	int code;

	if (json_parse_file(cli_word(cli, 0), &sim.spec, error) ||
		(json_text_or(cli->options, "dataset", NULL) &&
			json_parse_file(json_text_or(cli->options, "dataset", ""), &sim.dataset, error))) {
		json_decref(sim.spec);
		return -1;
	}
	sim.home = text_new("%s/rounds-simulate.XXXXXX", temporary ? temporary : "/tmp");
	if (!sim.home || !mkdtemp(sim.home)) {
		json_decref(sim.spec);
		json_decref(sim.dataset);
		free(sim.home);
		return error_errno(error, "cannot make a temporary directory");
	}
	processes_begin();
	cli->stop = processes_stop();
	code = simulate_in(&sim, error);
	if (code < 0)
		processes_explain(error);
	processes_end();
	if (keep || (code < 0 && !processes_interrupted()))
		fprintf(stderr, "Logs, data and state are in %s\n", sim.home);
	else
		directory_remove(sim.home);
	json_decref(sim.spec);
	json_decref(sim.sites);
	json_decref(sim.dataset);
	free(sim.home);
	free(sim.ca);
	free(sim.url);
	return code;
}
