#include "client/trainers/metrics.h"

#include "client/trainers/survival.h"
#include "common/json.h"

#include <math.h>

struct scored {
	double score;
	bool positive;
};

struct metrics {
	enum loss loss;
	size_t outputs, rows, right;
	double loss_sum, squares;
	struct scored *scores; /* of two classes */
	struct subject *subjects;
	size_t *tree; /* room for the concordance */
};

int metrics_new(enum loss loss, size_t outputs, size_t rows, struct metrics **out, struct rounds_error *error)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return error_no_memory(error);
	metrics->loss = loss;
	metrics->outputs = outputs;
	metrics->scores = calloc(rows + 1, sizeof(*metrics->scores));
	metrics->subjects = calloc(loss == LOSS_COX ? rows + 1 : 1, sizeof(*metrics->subjects));
	metrics->tree = calloc(loss == LOSS_COX ? rows + 1 : 1, sizeof(*metrics->tree));
	*out = metrics;
	return metrics->scores && metrics->subjects && metrics->tree ? 0 : error_no_memory(error);
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	free(metrics->scores);
	free(metrics->subjects);
	free(metrics->tree);
	free(metrics);
}

void metrics_add(struct metrics *metrics, const float *outputs, float label, float time)
{
	size_t best = 0;
	double score = outputs[0];

	if (metrics->loss == LOSS_SQUARED) {
		metrics->squares += (score - (double)label) * (score - (double)label);
	} else if (metrics->loss == LOSS_COX) {
		metrics->subjects[metrics->rows] = (struct subject){
			.score = score, .time = time, .event = label > 0.5f
		};
	} else if (metrics->loss == LOSS_LOGISTIC) {
		metrics->right += (score > 0) == (label > 0.5f);
	} else {
		for (size_t i = 1; i < metrics->outputs; i++)
			best = outputs[i] > outputs[best] ? i : best;
		metrics->right += best == (size_t)label;
		score = metrics->outputs == 2 ? (double)outputs[1] - (double)outputs[0] : 0;
	}
	metrics->scores[metrics->rows++] = (struct scored){ score, label > 0.5f };
}

void metrics_add_loss(struct metrics *metrics, double mean, size_t rows)
{
	metrics->loss_sum += mean * (double)rows;
}

static int by_score(const void *a, const void *b)
{
	const struct scored *x = a, *y = b;

	return (x->score > y->score) - (x->score < y->score);
}

/* Mann and Whitney's statistic from ranks; equal scores share their mean rank. */
static double area_under_curve(struct metrics *metrics)
{
	double rank_sum = 0;
	size_t positives = 0, rows = metrics->rows;

	qsort(metrics->scores, rows, sizeof(*metrics->scores), by_score);
	for (size_t i = 0, end; i < rows; i = end) {
		for (end = i + 1; end < rows && metrics->scores[end].score == metrics->scores[i].score;)
			end++;
		for (size_t j = i; j < end; j++) {
			if (!metrics->scores[j].positive)
				continue;
			rank_sum += (double)(i + end + 1) / 2;
			positives++;
		}
	}
	if (positives == 0 || positives == rows)
		return NAN;
	return (rank_sum - (double)positives * (double)(positives + 1) / 2) /
	       ((double)positives * (double)(rows - positives));
}

void metrics_finish(struct metrics *metrics, json_t *values)
{
	double rows = (double)metrics->rows;
	bool two = metrics->loss == LOSS_LOGISTIC || (metrics->loss == LOSS_SOFTMAX && metrics->outputs == 2);

	json_object_set_new(values, "loss", json_number_or_null(metrics->loss_sum / rows));
	if (metrics->loss == LOSS_SQUARED)
		json_object_set_new(values, "rmse", json_number_or_null(sqrt(metrics->squares / rows)));
	else if (metrics->loss == LOSS_COX)
		json_object_set_new(values, "c_index",
			json_number_or_null(survival_concordance(metrics->subjects, metrics->rows, metrics->tree)));
	else
		json_object_set_new(values, "accuracy", json_number_or_null((double)metrics->right / rows));
	if (two)
		json_object_set_new(values, "auc", json_number_or_null(area_under_curve(metrics)));
}
