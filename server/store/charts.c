/* Whole queries in the JSON functions of SQLite: another database has its own in this file's place. */
#include "server/store/charts.h"

#include "common/json.h"
#include "server/store/db.h"

#include <string.h>

#define MS(column) "CAST(round((" column " - origin) / 1000.0) AS INTEGER)"

static int take_text(json_t *row, char **text, struct rounds_error *error)
{
	const char *made = json_text_or(row, "text", NULL);

	*text = made ? strdup(made) : NULL;
	json_decref(row);
	return *text ? 0 : error_no_memory(error);
}

int chart_timeline(struct store_tx *tx, const char *job, int64_t from, char **text, struct rounds_error *error)
{
	json_t *row = NULL;

	if (db_first(tx, error, &row,
		    "WITH origin AS (SELECT created_us AS origin FROM job WHERE id = ?1),"
		    " names AS (SELECT DISTINCT site FROM task WHERE job = ?1 AND round >= ?2 ORDER BY site),"
		    " ranks AS (SELECT site, row_number() OVER (ORDER BY site) - 1 AS place FROM names)"
		    " SELECT json_object('origin', strftime('%Y-%m-%dT%H:%M:%fZ', (SELECT origin FROM origin) / 1e6, "
		    "'unixepoch'),"
		    " 'sites', (SELECT json_group_array(site) FROM names),"
		    " 'rounds', (SELECT json_group_array(json_array(number, state, " MS("started_us") ", " MS("aggregating_us") ", " MS(
			    "finished_us") "))"
					   " FROM round, origin WHERE job = ?1 AND number >= ?2),"
					   " 'tasks', (SELECT json_group_array(json_array(round, "
					   "place, kind, state, " MS("created_us") ", " MS("leased_us") ", " MS(
						   "finished_us") ","
								  " round(1000 * json_extract(timings, '$.download'), 1),"
								  " round(1000 * json_extract(timings, '$.train'), 1),"
								  " round(1000 * json_extract(timings, '$.upload'), 1), attempts, weight))"
								  " FROM task JOIN ranks USING (site), origin WHERE job = ?1 AND round >= ?2)) AS text",
		    "si", job, from))
		return -1;
	return take_text(row, text, error);
}

int chart_curves(struct store_tx *tx, const char *job, const char *name, const char *site, int64_t from, char **text,
	struct rounds_error *error)
{
	json_t *row = NULL;

	if (db_first(tx, error, &row,
		    "WITH points AS (SELECT name, site, round, value FROM metric WHERE job = ?1 AND round >= ?4"
		    " AND (?2 IS NULL OR name = ?2) AND (?3 IS NULL OR site = ?3) ORDER BY round),"
		    " series AS (SELECT json_object('name', name, 'site', site, 'rounds', json_group_array(round),"
		    " 'values', json_group_array(value)) AS one FROM points GROUP BY name, site)"
		    " SELECT json_object('names', (SELECT json_group_array(name) FROM"
		    " (SELECT DISTINCT name FROM metric WHERE job = ?1 ORDER BY name)),"
		    " 'series', (SELECT json_group_array(json(one)) FROM series)) AS text",
		    "sssi", job, name, site, from))
		return -1;
	return take_text(row, text, error);
}
