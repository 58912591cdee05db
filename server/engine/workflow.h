/*
 * A workflow decides what a job does next.
 *
 * It is a pure function of the job's history: it reads the job, one event and its own state, and appends to a plan. No
 * I/O, no clock, no randomness but the job's seed. The engine calls it inside the transaction that records the event;
 * the plan takes effect if, and only if, that transaction commits.
 *
 * Files are named by their digests as text (`sha256:...`). Whatever is given to a step is borrowed for the call;
 * whatever a step gives to the plan is copied or held.
 */
#ifndef ROUNDS_SERVER_ENGINE_WORKFLOW_H
#define ROUNDS_SERVER_ENGINE_WORKFLOW_H

#include "common/fields.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum event_kind {
	EVENT_STARTED, /* the scheduler gave the job its sites */
	EVENT_RESULT,  /* a site's result was accepted: event->site, task, round, files, weight, metrics, distance */
	EVENT_TASK_FAILED, /* a task failed for good: event->site, task, round, reason */
	EVENT_AGGREGATED, /* an aggregate asked for is ready: event->round, files: "model", maybe "state" of the step */
	EVENT_TIMER,      /* a timer set by the plan went off: event->timer */
	EVENT_COUNT
};

struct event {
	enum event_kind kind;
	int64_t round;
	const char *task; /* "train", "evaluate", "initialize" */
	const char *site;
	const json_t *files;   /* what was brought or made, by name (common/artifact.h); NULL: nothing */
	double weight;         /* the site's sample count */
	double distance;       /* L2 norm of update - model */
	const json_t *metrics; /* name to number; null where it was not finite */
	const char *reason;
	bool is_skipped; /* of a failed task: nobody waits for it any more since a person said so; the site is not at fault */
	const char *timer;
};

/* The job's sites in order of name: never none. */
struct sites {
	const char *const *names;
	size_t count;
};

/*
 * What a step may ask beside what it is given. It asks when it opens or closes a round, not for every event: so the work of a
 * round grows with its sites and not with their square, and a state holds counters, not what the tasks' rows hold already. If it
 * cannot be read, the answer is one site without a name, or no results, and the engine drops the plan.
 */
struct history {
	struct sites (*sites)(struct history *history);
	/*
	 * What was delivered for a round's tasks of a kind, in order of site: [{"site", "weight", "metrics", "distance", "files"}],
	 * each as in its event; a new reference.
	 */
	json_t *(*results)(struct history *history, const char *kind, int64_t round);
};

struct job_view {
	const json_t *params;      /* checked against the workflow's table, defaults filled in */
	const char *initial_model; /* NULL: a site must make one */
	uint64_t seed;
	const struct workflow *workflow;
	struct history *history;
};

static inline struct sites sites_of(const struct job_view *job)
{
	return job->history->sites(job->history);
}

static inline json_t *results_of(const struct job_view *job, const char *kind, int64_t round)
{
	return job->history->results(job->history, kind, round);
}

struct plan;

typedef void step_fn(const struct job_view *job, const struct event *event, json_t *state, struct plan *plan);

/* What a file that a result brings is checked to be, before it counts. */
enum updates {
	UPDATES_LIKE_MODEL, /* the model's tensors, and no others */
	UPDATES_BOOSTERS,   /* a booster that goes on from the model (server/aggregate/boosters.h) */
	UPDATES_ANY,        /* finite numbers */
	UPDATES_SEALED,     /* nothing that the server could look into */
};

struct output {
	const char *task, *file; /* every result of such a task brings a file of that name */
	enum updates check;
};

enum { OUTPUTS_MOST = 16 }; /* of one kind of task */

struct workflow {
	const char *name;                        /* what a job writes in "workflow" */
	const char *summary;                     /* one line for people */
	const struct field *params;              /* also the schema, the docs and the form */
	int64_t (*rounds)(const json_t *params); /* how many to expect, for progress */
	/* Appends rules that look at more than one parameter; may be NULL. */
	void (*check)(const json_t *params, json_t *faults);
	enum updates updates; /* what the "update" is that "initialize" and "train" bring */
	const struct output
		*outputs;      /* what tasks bring instead, ended by one without a task; NULL: just that update */
	bool needs_model;      /* a job must name an initial_model */
	bool takes_late_sites; /* a site may join while it runs: what is made of a round is a sum over whoever was in it */
	const void *rules;           /* for steps that several workflows share */
	step_fn *steps[EVENT_COUNT]; /* NULL: the event does not concern this workflow */
};

/* NULL if there is none of that name. */
const struct workflow *workflow_find(const char *name);

/* A state as an older server wrote it becomes one as the steps of today write it. */
void state_renew(json_t *state);

/* All of them, ended by NULL. */
extern const struct workflow *const workflows[];

/* What a step may ask for. Running out of memory is noticed by the engine, which then drops the whole plan. */
void plan_round(struct plan *plan, int64_t round, const char *model); /* begins a round from this model */
/* A task whose one file is a model; NULL: none. */
void plan_task(struct plan *plan, const char *kind, const char *site, int64_t round, const char *model);
struct task_plan {
	const char *kind, *site;
	int64_t round;
	const json_t *files; /* {name: digest}: what the site gets, and may read while the task is open; or NULL */
	const json_t *algorithm; /* what the trainer is asked to do differently; NULL: nothing */
};
void plan_task_with(struct plan *plan, const struct task_plan *task);
void plan_cancel(struct plan *plan, int64_t round, const char *reason); /* the round's open tasks */
/* The aggregators that a job may name, with the params of each, for a field of the workflow's table. */
struct variant aggregator_variant(size_t index);
/*
 * One model out of the updates of that kind of task: by an aggregator and its params, with weights by site instead of the
 * sample counts, and a step of the server's own (server/aggregate/server_step.h) to the next model. Each may be NULL.
 * The last of its plan: where no site has a column that the job names, the job fails with it.
 */
struct aggregate_plan {
	const char *method;
	const char *file;     /* which of the results' files; NULL: "update" */
	const json_t *params; /* of which the aggregator's own are taken, such as the job's */
	const json_t *weights, *step;
	/*
	 * [{"site", "round", "weight"}]: these results and no others, from whatever rounds, each beside the model that it was
	 * trained from (aggregate/combination.c).
	 */
	const json_t *results;
	const json_t *skipped; /* [site]: of the round, but nobody waited for them; for the record */
};
void plan_aggregate(struct plan *plan, int64_t round, const char *kind, const struct aggregate_plan *how);
void plan_timer(struct plan *plan, const char *name, double after_seconds); /* replaces one of that name */
void plan_timer_off(struct plan *plan, const char *name);
void plan_metric(
	struct plan *plan, int64_t round, const char *site, const char *name, double value); /* site "": whole */
/* A metric named train_* or personal_* is of the round that it comes with, another of the model that was measured in it. */
bool metric_is_of_round(const char *name);
/* A result's metrics: of its round, or of the model of `model_round`. */
void plan_metrics(struct plan *plan, const struct event *event, int64_t model_round);
void plan_expect(struct plan *plan, int64_t rounds); /* so many rounds, where the parameters alone did not say */
void plan_model(struct plan *plan, int64_t round, const char *model); /* is now the job's model */
void plan_best(struct plan *plan, int64_t round, const char *model);
void plan_note(struct plan *plan, int64_t round, const char *format, ...) __attribute__((format(printf, 3, 4)));
void plan_complete(struct plan *plan);
void plan_fail(struct plan *plan, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Chooses `count` of `items` (a permutation's beginning) by the seed and a salt such as the round; keeps their order. */
void choose(const char *const *items, size_t item_count, size_t count, uint64_t seed, uint64_t salt, json_t *chosen);

#endif
