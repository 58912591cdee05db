/* What the dashboard plots. */
#include "server/routes/app.h"

#include "server/store/charts.h"
#include "server/store/jobs.h"

struct chart {
	const char *job, *name, *site;
	int64_t from;
	char *text;
};

static int read_timeline(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct chart *chart = argument;

	return job_exists(tx, chart->job, error) || chart_timeline(tx, chart->job, chart->from, &chart->text, error)
		       ? -1
		       : 0;
}

static int read_curves(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct chart *chart = argument;

	return job_exists(tx, chart->job, error) || chart_curves(tx, chart->job, chart->name, chart->site,
							    chart->from, &chart->text, error)
		       ? -1
		       : 0;
}

static enum outcome reply_chart(struct request *request, struct app *app, store_fn *read)
{
	struct rounds_error error = { 0 };
	struct chart chart = {
		.job = request_parameter(request, "job"),
		.name = request_query(request, "name"),
		.site = request_query(request, "site"),
		.from = -1,
	};

	if (request_query_integer(request, "from", -1, INT64_MAX, &chart.from, &error) ||
		store_read(app->store, read, &chart, &error))
		return reply_error(request, &error);
	return reply_text(request, 200, "application/json", chart.text);
}

enum outcome job_timeline(struct request *request, void *context)
{
	return reply_chart(request, context, read_timeline);
}

enum outcome job_curves(struct request *request, void *context)
{
	return reply_chart(request, context, read_curves);
}
