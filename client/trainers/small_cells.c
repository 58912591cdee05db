#include "client/trainers/small_cells.h"

#include "common/digest.h"
#include "common/failure.h"
#include "common/file.h"
#include "common/json.h"
#include "common/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the largest contribution, what the smaller ones must hide (the p of the p% rule). */
static const double HIDDEN_SHARE = 0.1;

/* Sums that are told of a column: as many values that few people share could be counted by solving for them. */
enum { EQUATIONS = 3, QUESTION_LIMIT = 100000000 };

bool cell_may_be_told(size_t people, size_t least)
{
	return people == 0 || people >= least;
}

/* The missing are the greatest. */
static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	if (isnan(x) || isnan(y))
		return isnan(x) - isnan(y);
	return (x > y) - (x < y);
}

size_t cells_tally(double *values, size_t count, size_t *people)
{
	size_t different = 0;

	qsort(values, count, sizeof(*values), by_value);
	for (size_t i = 0; i < count && !isnan(values[i]); i++) {
		if (different > 0 && values[different - 1] == values[i]) {
			people[different - 1]++;
			continue;
		}
		values[different] = values[i];
		people[different++] = 1;
	}
	return different;
}

static double median_of(const double *values, const size_t *people, size_t count)
{
	size_t all = 0, until = 0, i = 0;

	for (size_t j = 0; j < count; j++)
		all += people[j];
	while (i + 1 < count && (until += people[i]) <= all / 2)
		i++;
	return values[i];
}

/* Keeps the two greatest. */
static void take(double away, double greatest[2])
{
	if (away > greatest[0]) {
		greatest[1] = greatest[0];
		greatest[0] = away;
	} else if (away > greatest[1]) {
		greatest[1] = away;
	}
}

/* Contributions are distances from the median, or their squares; `share` is what the rest must hide of the greatest. */
static bool dominated(const double *values, const size_t *people, size_t count, bool squares, double share)
{
	double median = count > 0 ? median_of(values, people, count) : 0, greatest[2] = { 0 }, sum = 0;

	for (size_t i = 0; i < count; i++) {
		double away = squares ? pow(values[i] - median, 2) : fabs(values[i] - median);

		sum += away * (double)people[i];
		for (size_t j = 0; j < people[i] && j < 2; j++)
			take(away, greatest);
	}
	return count > 0 && sum - greatest[0] - greatest[1] < share * greatest[0];
}

bool cells_dominated(const double *values, const size_t *people, size_t count)
{
	return dominated(values, people, count, false, HIDDEN_SHARE);
}

/* Who takes the root knows the value to within p where the rest of the squares is less than (1 + p)^2 - 1 of the greatest. */
bool cells_squares_dominated(const double *values, const size_t *people, size_t count)
{
	return dominated(values, people, count, true, (1 + HIDDEN_SHARE) * (1 + HIDDEN_SHARE) - 1);
}

struct column_shape cells_judge(const double *values, const size_t *people, size_t count, size_t least)
{
	struct column_shape shape = { 0 };
	size_t most = 0, rare_people = 0, rare_values = 0;

	for (size_t i = 0; i < count; i++) {
		shape.known += people[i];
		shape.values += people[i] > 0;
		if (people[i] > most) {
			most = people[i];
			shape.mode = values[i];
		}
		if (people[i] > 0 && people[i] < least) {
			rare_people += people[i];
			rare_values++;
		}
	}
	shape.others = shape.known - most;
	shape.indicator = 2 * most >= shape.known;
	shape.told_once = least == 1 || (shape.known >= least && cell_may_be_told(shape.others, least) &&
						(shape.others == 0 || !cells_dominated(values, people, count)));
	shape.told_squares = shape.told_once &&
			     (least == 1 || shape.others == 0 || !cells_squares_dominated(values, people, count));
	shape.told = shape.told_squares && cell_may_be_told(rare_people, least) &&
		     (least == 1 || rare_people == 0 || rare_values > EQUATIONS);
	return shape;
}

struct merging {
	const size_t *totals;
	size_t series, cells, least;
	const bool *allowed;
	bool *begins;
	size_t begin, end; /* the merged cell that the last cut looked at lies in */
};

/* Whether [begin, end) holds nobody or enough in every series. */
static bool may_stand(const struct merging *work, size_t begin, size_t end)
{
	for (size_t i = 0; i < work->series; i++)
		if (!cell_may_be_told(work->totals[end * work->series + i] - work->totals[begin * work->series + i],
			    work->least))
			return false;
	return true;
}

/* Cuts are tried from the first to the last: the merged cell that this one lies in is the same as the last one's, or behind it. */
static void cut(struct merging *work, size_t at)
{
	while (work->end <= at || (work->end < work->cells && !work->begins[work->end])) {
		if (work->begins[work->end])
			work->begin = work->end;
		work->end++;
	}
	if ((work->allowed && !work->allowed[at]) || !may_stand(work, work->begin, at) ||
		!may_stand(work, at, work->end))
		return;
	work->begins[at] = true;
	work->begin = at;
}

/* The middles of [from, to), of its halves, ... at that depth. */
static void cut_middles(struct merging *work, size_t from, size_t to, size_t depth)
{
	size_t middle = from + (to - from) / 2;

	if (to - from < 2)
		return;
	if (depth == 0) {
		cut(work, middle);
		return;
	}
	cut_middles(work, from, middle, depth - 1);
	cut_middles(work, middle, to, depth - 1);
}

bool cells_merge(const size_t *totals, size_t series, size_t cells, size_t least, const bool *allowed, bool *begins)
{
	struct merging work = { totals, series, cells, least, allowed, begins, 0, 0 };

	memset(begins, 0, cells * sizeof(*begins));
	begins[0] = true;
	for (size_t depth = 0; (size_t)1 << depth <= 2 * cells; depth++) {
		work.begin = 0;
		work.end = 1;
		cut_middles(&work, 0, cells, depth);
	}
	return may_stand(&work, 0, cells);
}

/* What is asked of what: the question, and a digest of the rows. */
static char *ask(const json_t *question, const struct dataset *data)
{
	struct digest_stream *stream = digest_stream_new();
	json_auto_t *asked = NULL;
	struct digest digest;
	char text[DIGEST_TEXT_SIZE];

	if (!stream)
		return NULL;
	digest_stream_add(stream, data->features, data->rows * data->columns * sizeof(float));
	digest_stream_add(stream, data->labels, data->rows * sizeof(float));
	digest_stream_finish(stream, &digest);
	digest_stream_free(stream);
	digest_format(&digest, text);
	asked = json_pack("{s:s, s:O}", "table", text, "question", (json_t *)(uintptr_t)question);
	return asked ? json_dumps(asked, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
}

int cells_ask_once(const char *own, const char *name, const json_t *question, const struct dataset *data,
	struct rounds_error *error)
{
	scoped(text_free) char *path = text_new("%s/%s-asked.json", own, name), *asked = ask(question, data);
	scoped(text_free) char *before = NULL;

	if (!own)
		return 0;
	if (!path || !asked)
		return error_no_memory(error);
	if (access(path, F_OK) != 0)
		return file_replace(path, asked, strlen(asked), 0600, error);
	if (file_read(path, QUESTION_LIMIT, &before, NULL, error))
		return -1;
	if (!strcmp(before, asked))
		return 0;
	return failure_error(error, FAILURE_POLICY, "", 0, 0,
		"this job has asked this site something else before, or the data have changed since: two such answers could be "
		"told apart by few people; submit a new job");
}
