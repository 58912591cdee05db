/*
 * Survival: what a model's scores say of times until an event, where some were only seen to live so long (censored). A higher
 * score is a higher hazard.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_SURVIVAL_H
#define ROUNDS_CLIENT_TRAINERS_SURVIVAL_H

#include <stdbool.h>
#include <stddef.h>

struct subject {
	double score;
	float time;
	bool event;  /* seen, and not censored */
	size_t row;  /* where the caller has it */
	size_t rank; /* by score */
	double risk; /* log of the summed hazards of those who live as long */
};

/*
 * Cox's negative log partial likelihood (Cox, Regression models and life-tables, 1972; as the loss of a network: Katzman and
 * others, DeepSurv, 2018) with Breslow's treatment of ties, over the number of rows:
 *
 *     -1/n * sum over events i of (score_i - log of the sum over all j with time_j >= time_i of exp(score_j))
 *
 * Only a batch's own rows are at risk in it. 0 without an event. Sorts the subjects. `gradient`, by the scores, is given by row;
 * NULL: not wanted.
 */
double survival_loss(struct subject *subjects, size_t count, float *gradient);

/*
 * The concordance index (Harrell and others, 1982): of the pairs in which it is known who had the event first, the share in which
 * that one has the higher score; equal scores count half. NaN if there is no such pair. Sorts the subjects; `tree` is room
 * for count + 1. Takes count * log(count) steps.
 */
double survival_concordance(struct subject *subjects, size_t count, size_t *tree);

#endif
