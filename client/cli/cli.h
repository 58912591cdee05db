/* What the files of the `rounds` command share. */
#ifndef ROUNDS_CLIENT_CLI_CLI_H
#define ROUNDS_CLIENT_CLI_CLI_H

#include "client/http.h"
#include "common/program.h"

/* Exit codes, as the help lists them. */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* the server or this program could not do it */
	EXIT_USAGE = 2,  /* the command line or the job is wrong */
	EXIT_NOT_FOUND = 3,
	EXIT_DENIED = 4,      /* not logged in, or not allowed */
	EXIT_UNREACHABLE = 5, /* no answer from the server */
	EXIT_JOB_FAILED =
		6, /* watch: the job failed or was aborted; verify: the lineage is broken; audit verify: the log */
};

/* A command at work. */
struct cli {
	const json_t *options;         /* flags, checked */
	const json_t *words;           /* what follows the command's own words */
	struct connection *connection; /* ours; NULL for commands that need no server, until they make one */
	bool json;                     /* -o json */
	const atomic_bool *stop;       /* true: an outage is no longer waited out; may be NULL */
};

typedef int command_fn(struct cli *cli, struct rounds_error *error); /* an exit code, or -1 with an error */

struct command {
	const char *words; /* "job submit" */
	const char *usage; /* what follows them */
	const char *help;
	const struct field *flags; /* beside the global ones; NULL: none */
	command_fn *run;
	int least, most; /* arguments */
	bool offline;    /* needs no server */
};

extern const struct command commands[];

/* main.c */
const struct program *cli_program(void);                /* its help, manual page and completion */
const char *cli_word(const struct cli *cli, size_t at); /* NULL: not given */
must_check int cli_get(struct cli *cli, const char *path, json_t **answer, struct rounds_error *error);
must_check int cli_post(
	struct cli *cli, const char *path, const json_t *body, json_t **answer, struct rounds_error *error);
/* Whether `given` is a known id, its beginning, or at least four characters of its end. */
bool cli_id_means(const char *given, const char *known);
/* Ids may be given by their beginning, and "last" is the newest job: fills `id` (40 bytes). */
must_check int cli_job_id(struct cli *cli, const char *given, char *id, struct rounds_error *error);

/* Before what cannot be undone, unless --yes was given: asks, and is an error where the answer is not yes. */
must_check int cli_confirm(const struct cli *cli, struct rounds_error *error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Adds to an error what helps where a server's certificate is not trusted. */
void cli_explain(const struct connection *connection, struct rounds_error *error);

/* print.c */
struct column {
	const char *title, *key;
};
/* Rows of objects as a table whose columns fit their widest value; control characters are shown as '?'. */
void print_table(const json_t *rows, const struct column *columns);
/* An object as lines of key and value. */
void print_object(const json_t *object, const struct column *fields);
void print_json(const json_t *value);
/* What a command ends with: the value as JSON if that was asked for, else as a table or as lines. */
int show_table(const struct cli *cli, const json_t *rows, const struct column *columns);
int show_object(const struct cli *cli, const json_t *object, const struct column *fields);
/* A value as text for people, safe for a terminal: the caller frees. */
char *value_text(const json_t *value);

/* context.c: named servers in ~/.config/rounds/contexts.json */
must_check int context_save(
	const char *name, const char *url, const char *token, const char *ca_pem, struct rounds_error *error);
must_check int context_connect(const char *name, struct connection **connection, struct rounds_error *error);

/* The commands. */
command_fn login, version, completion, whoami;
command_fn job_check, job_skip, job_submit, job_list, job_show, job_watch, job_abort, job_pause, job_resume,
	job_clone, job_delete, job_download, job_events, job_trace, job_export;
command_fn site_list, site_invite, site_invitations, site_uninvite, site_show, site_drain, site_activate, site_remove;
command_fn user_add, user_list, user_role, user_reset, user_remove;
command_fn webhook_add, webhook_list, webhook_ping, webhook_pause, webhook_resume, webhook_remove;
command_fn upload_list;
command_fn token_create, token_list, token_remove;
command_fn peers_key, peers_sign;
command_fn audit_list, audit_export, audit_verify, audit_key;
command_fn verify, simulate;

extern const struct field login_flags[], submit_flags[], list_flags[], download_flags[], token_flags[], clone_flags[],
	audit_list_flags[], peers_sign_flags[], audit_verify_flags[], invite_flags[], drain_flags[], yes_flags[],
	simulate_flags[], user_flags[], webhook_flags[], trace_flags[], export_flags[];

/* check.c: what was odd about a job when it was submitted. */
void print_warnings(FILE *to, const json_t *warnings);

/* watch.c: follows a job to its end. */
must_check int watch(struct cli *cli, const char *id, struct rounds_error *error);

#endif
