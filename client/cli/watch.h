/* A job that is being followed: what is known of it, shared by the plain lines (watch.c) and the live view. */
#ifndef ROUNDS_CLIENT_CLI_WATCH_H
#define ROUNDS_CLIENT_CLI_WATCH_H

#include "client/cli/cli.h"

/* Events that are the routine of a running job, or worth telling. */
bool event_is_routine(const json_t *event);

struct view {
	struct cli *cli;
	const char *id;
	bool live;          /* on a terminal */
	int64_t cursor;     /* the last event that was read */
	int64_t round_said; /* the last round whose line was printed */
	int64_t drawn;      /* lines to go back over */
	int64_t server_us;  /* wall clock of the server, by its last answer */
	json_t *job, *tasks;
	json_t *curves; /* of the whole: all of them for the live view, else those of rounds not yet said */
	json_t *recent; /* the last events worth telling */
};

/* The value of a curve at a round; NAN: none. */
double curve_at(const json_t *curve, int64_t round);
bool job_has_ended(const json_t *job);

/* live_view.c */
enum { RECENT = 4 };
void live_begin(void);
void live_draw(struct view *view);

#endif
