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

double cells_median(const double *values, const size_t *people, size_t count)
{
	size_t all = 0, until = 0, i = 0;

	for (size_t j = 0; j < count; j++)
		all += people[j];
	while (i + 1 < count && (until += people[i]) <= all / 2)
		i++;
	return count > 0 ? values[i] : 0;
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

/* Who takes the root knows the value to within p where the rest of the squares is less than (1 + p)^2 - 1 of the greatest. */
bool contributions_dominated(double sum, double greatest, double second, bool squares)
{
	double share = squares ? (1 + HIDDEN_SHARE) * (1 + HIDDEN_SHARE) - 1 : HIDDEN_SHARE;

	return sum - greatest - second < share * greatest;
}

static double spread_of(const double *values, const size_t *people, size_t count, double median)
{
	double squares = 0, all = 0;

	for (size_t i = 0; i < count; i++) {
		squares += (values[i] - median) * (values[i] - median) * (double)people[i];
		all += (double)people[i];
	}
	return all > 0 ? sqrt(squares / all) : 0;
}

/*
 * Contributions are distances from the median, or their squares; each weighs e^tilt with every root mean square of the distances
 * that it lies above the median.
 */
static bool dominated(const double *values, const size_t *people, size_t count, bool squares, double tilt)
{
	double median = cells_median(values, people, count), greatest[2] = { 0 }, sum = 0;
	double spread = spread_of(values, people, count, median);

	for (size_t i = 0; i < count && spread > 0; i++) {
		double away = fabs(values[i] - median);
		double part = (squares ? away * away : away) * exp(tilt * (values[i] - median) / spread);

		sum += part * (double)people[i];
		for (size_t k = 0; k < people[i] && k < 2; k++)
			take(part, greatest);
	}
	return count > 0 && contributions_dominated(sum, greatest[0], greatest[1], squares);
}

bool cells_dominated(const double *values, const size_t *people, size_t count)
{
	return dominated(values, people, count, false, 0);
}

bool cells_squares_dominated(const double *values, const size_t *people, size_t count)
{
	return dominated(values, people, count, true, 0);
}

static bool is_extreme(const double *values, const size_t *people, size_t count, double tilt)
{
	return dominated(values, people, count, false, 0) || dominated(values, people, count, true, 0) ||
	       dominated(values, people, count, true, tilt) || dominated(values, people, count, true, -tilt);
}

/* The `least` at one end of a tally take the value of the one of them that is nearest to the middle, which is returned. */
static double code_end(double *values, const size_t *people, size_t count, size_t least, bool high)
{
	size_t reached = 0, i = 0;
	double bound = 0;

	while (i < count && reached < least) {
		size_t at = high ? count - 1 - i : i;

		reached += people[at];
		bound = values[at];
		i++;
	}
	for (size_t j = 0; j < i; j++)
		values[high ? count - 1 - j : j] = bound;
	return bound;
}

struct bounds cells_bound(double *values, const size_t *people, size_t count, size_t least, double tilt)
{
	struct bounds bounds = { -HUGE_VAL, HUGE_VAL };
	double median = cells_median(values, people, count);
	bool high = count > 0 && values[count - 1] - median >= median - values[0];

	for (int end = 0; end < 2; end++, high = !high) {
		if (!is_extreme(values, people, count, tilt))
			break;
		if (high)
			bounds.high = code_end(values, people, count, least, true);
		else
			bounds.low = code_end(values, people, count, least, false);
	}
	return bounds;
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
	const struct cell_rules *rules;
	size_t cells;
	bool *begins;
	size_t begin, end; /* the merged cell that the last cut looked at lies in */
};

/* Whether [begin, end) holds nobody or enough in every series. */
static bool may_stand(const struct merging *work, size_t begin, size_t end)
{
	const struct cell_rules *rules = work->rules;

	for (size_t i = 0; i < rules->series; i++)
		if (!cell_may_be_told(
			    rules->totals[end * rules->series + i] - rules->totals[begin * rules->series + i],
			    rules->least))
			return false;
	return !rules->may_stand || rules->may_stand(rules->context, begin, end);
}

/* Cuts are tried from the first to the last: the merged cell that this one lies in is the same as the last one's, or behind it. */
static void cut(struct merging *work, size_t at)
{
	while (work->end <= at || (work->end < work->cells && !work->begins[work->end])) {
		if (work->begins[work->end])
			work->begin = work->end;
		work->end++;
	}
	if ((work->rules->allowed && !work->rules->allowed[at]) || !may_stand(work, work->begin, at) ||
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

bool cells_merge(const struct cell_rules *rules, size_t cells, bool *begins)
{
	struct merging work = { rules, cells, begins, 0, 0 };

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
