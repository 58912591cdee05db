/* A job's history for the tools where its people already look. */
#include "client/cli/history.h"

#include "common/json.h"

const struct field export_flags[] = {
	{ "csv", FIELD_TEXT, "A folder for metrics.csv, rounds.csv and tasks.csv", .min = 1, .max = 1000 },
	{ "tensorboard", FIELD_TEXT, "A folder for event files: tensorboard --logdir FOLDER", .min = 1, .max = 1000 },
	{ "mlflow", FIELD_TEXT, "An MLflow server, such as http://localhost:5000 (MLFLOW_TRACKING_TOKEN is honoured)",
		.min = 1, .max = 1000 },
	{ "experiment", FIELD_TEXT, "MLflow's experiment, made if needed (rounds unless said)", .min = 1,
		.max = 200 },
	{ NULL },
};

int job_export(struct cli *cli, struct rounds_error *error)
{
	const char *csv = json_text_or(cli->options, "csv", NULL);
	const char *tensorboard = json_text_or(cli->options, "tensorboard", NULL);
	const char *mlflow = json_text_or(cli->options, "mlflow", NULL);
	scoped(history_free) struct history history = { 0 };

	if (!csv && !tensorboard && !mlflow)
		return error_set(
			error, ERROR_INVALID, "say where to: --csv FOLDER, --tensorboard FOLDER, --mlflow URL");
	if (!mlflow && json_object_get(cli->options, "experiment"))
		return error_field(error, "--experiment", "is MLflow's: it does nothing without --mlflow URL");
	if (history_read(cli, cli_word(cli, 0), &history, error))
		return -1;
	if (csv && save_csv(&history, csv, error))
		return -1;
	if (tensorboard && save_tensorboard(&history, tensorboard, error))
		return -1;
	if (mlflow && send_mlflow(&history, mlflow, json_text_or(cli->options, "experiment", "rounds"), error))
		return -1;
	return EXIT_DONE;
}
