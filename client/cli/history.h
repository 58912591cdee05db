/* All that the server tells of a job's past, for what shows it elsewhere: traces, tables, experiment trackers. */
#ifndef ROUNDS_CLIENT_CLI_HISTORY_H
#define ROUNDS_CLIENT_CLI_HISTORY_H

#include "client/cli/cli.h"

/* The answers of the API as they came; api/openapi.json describes them. */
struct history {
	struct cli *cli;
	char id[40];
	json_t *job;
	json_t *timeline; /* rounds and tasks in columns */
	json_t *curves;   /* metrics in columns */
	json_t *models;   /* kept: {"items": [{"digest", "role", "round", "size"}]} */
};

/* The columns of a round and of a task in the timeline; see server/store/charts.h. */
enum { ROUND_NUMBER, ROUND_STATE, ROUND_BEGUN, ROUND_AGGREGATING, ROUND_FINISHED };
enum {
	TASK_ROUND,
	TASK_SITE,
	TASK_KIND,
	TASK_STATE,
	TASK_ISSUED,
	TASK_LEASED,
	TASK_FINISHED,
	TASK_DOWNLOAD,
	TASK_TRAIN,
	TASK_UPLOAD
};

/* Of the job that `given` means, as cli_job_id takes it. Freed by the caller even after an error. */
must_check int history_read(struct cli *cli, const char *given, struct history *history, struct rounds_error *error);
void history_free(struct history history);
DEFINE_CLEANUP(struct history, history_free);

/* GET of something below the job, such as "/rounds". A new reference. */
must_check int history_get(
	const struct history *history, const char *what, json_t **answer, struct rounds_error *error);

/* When the job was submitted and when a round ended (its beginning if it has not), wall clock in microseconds. */
int64_t history_begin_us(const struct history *history);
int64_t history_round_us(const struct history *history, int64_t round);

/* A number of a row of columns; NAN: not known. */
double history_at(const json_t *row, size_t column);

/*
 * The curves whose site is `site` ("": of the whole) one after the other: NULL after the last. `at` starts at 0.
 * {"name", "site", "rounds": [...], "values": [...]}
 */
const json_t *history_curve(const struct history *history, const char *site, size_t *at);

/* The spec's settings by the path of each, {"params.rounds": 10, "trainer.epochs": 2}: a new reference. */
json_t *history_settings(const struct history *history);
/* A setting as people wrote it: text as it is, all else as JSON. The caller frees. */
char *setting_text(const json_t *setting);

/* The ways out of Rounds. */
must_check int save_csv(const struct history *history, const char *folder, struct rounds_error *error);
must_check int save_tensorboard(const struct history *history, const char *folder, struct rounds_error *error);
must_check int send_mlflow(
	const struct history *history, const char *url, const char *experiment, struct rounds_error *error);

#endif
