/* A job on a terminal: progress and what is left, curves of its metrics, what each site does, what has just happened. */
#include "client/cli/watch.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/text.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

enum { BAR = 24, SPARKS = 32, METRICS = 4, NAME = 24, OTHER_LINES = 5 };

#define BOLD   "\033[1m"
#define DIM    "\033[2m"
#define RED    "\033[31m"
#define YELLOW "\033[33m"
#define PLAIN  ""

static struct {
	int columns, rows;
	bool unicode, colour;
} terminal;

void live_begin(void)
{
	setlocale(LC_CTYPE, "");
	terminal.unicode = !strcmp(nl_langinfo(CODESET), "UTF-8");
	terminal.colour = !getenv("NO_COLOR");
}

static void measure_terminal(void)
{
	struct winsize size = { 0 };

	terminal.columns = 80;
	terminal.rows = 24;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
		terminal.columns = size.ws_col;
		terminal.rows = size.ws_row;
	}
}

/* Up to the terminal's width, so that a line stays one line; what it would obey is shown as '?'. */
static void put_cut(const char *text)
{
	int left = terminal.columns - 1;
	mbstate_t state = { 0 };

	while (*text && left > 0) {
		wchar_t wide = L'?';
		size_t length = mbrtowc(&wide, text, MB_CUR_MAX, &state);
		int width;

		if (length == (size_t)-1 || length == (size_t)-2) {
			length = 1;
			state = (mbstate_t){ 0 };
			wide = 0;
		}
		width = wcwidth(wide);
		if (width > left)
			break;
		if (width < 0)
			putchar('?');
		else
			fwrite(text, 1, length, stdout);
		left -= width < 0 ? 1 : width;
		text += length;
	}
}

__attribute__((format(printf, 3, 4))) static void put_line(
	struct view *view, const char *style, const char *format, ...)
{
	scoped(text_free) char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	text = text_new_from(format, arguments);
	va_end(arguments);
	if (!text)
		return;
	fputs("\033[K", stdout);
	if (terminal.colour)
		fputs(style, stdout);
	put_cut(text);
	fputs(terminal.colour && *style ? "\033[0m\n" : "\n", stdout);
	view->drawn++;
}

/* A bar of BAR cells, its end in eighths of a cell where the terminal has them. */
static const char *bar(double share, char text[4 * BAR + 1])
{
	static const char *const eighths[] = { " ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" };
	int filled = (int)((share < 0 || !isfinite(share) ? 0 : share > 1 ? 1 : share) * BAR * 8 + 0.5);

	text[0] = '\0';
	for (int i = 0; i < BAR; i++, filled -= 8) {
		int part = filled < 0 ? 0 : filled > 8 ? 8 : filled;

		strcat(text, terminal.unicode ? (part ? eighths[part] : "·") : part >= 4 ? "#" : ".");
	}
	return text;
}

/* The last SPARKS values as heights between the least and the greatest of them; a missing one is a gap. */
static const char *sparks(const json_t *values, char text[4 * SPARKS + 1])
{
	static const char *const high[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const plain[] = { "_", ".", "-", "~", "=", "+", "*", "#" };
	size_t count = json_array_size(values), first = count > SPARKS ? count - SPARKS : 0;
	double least = INFINITY, most = -INFINITY;

	for (size_t i = first; i < count; i++) {
		double value = json_number_value(json_array_get(values, i));

		if (!json_is_number(json_array_get(values, i)))
			continue;
		least = value < least ? value : least;
		most = value > most ? value : most;
	}
	text[0] = '\0';
	for (size_t i = first; i < count; i++) {
		const json_t *value = json_array_get(values, i);
		double share = most > least ? (json_number_value(value) - least) / (most - least) : 0.5;

		strcat(text,
			!json_is_number(value) ? " " : (terminal.unicode ? high : plain)[(int)(share * 7 + 0.5)]);
	}
	return text;
}

/* "42 s", "3:05", "2 h 10 min" */
static const char *duration(double seconds, char text[40])
{
	long long whole = (long long)(seconds + 0.5);

	if (whole < 60)
		snprintf(text, 40, seconds < 9.95 ? "%.1f s" : "%.0f s", seconds);
	else if (whole < 3600)
		snprintf(text, 40, "%lld:%02lld", whole / 60, whole % 60);
	else
		snprintf(text, 40, "%lld h %lld min", whole / 3600, whole / 60 % 60);
	return text;
}

/* Seconds between two times of the server; `to` NULL: now. NAN: not known. */
static double between(const struct view *view, const char *from, const char *to)
{
	int64_t begin = from ? time_parse(from) : -1, end = to ? time_parse(to) : view->server_us;

	return begin < 0 || end <= 0 ? NAN : end > begin ? (double)(end - begin) / 1e6 : 0;
}

static void draw_head(struct view *view)
{
	const char *state = json_text_or(view->job, "state", "");
	int64_t round = json_integer_or(view->job, "round", 0), rounds = json_integer_or(view->job, "rounds", 1);
	int64_t done = !strcmp(state, "completed") ? rounds : round - (job_has_ended(view->job) ? 0 : 1);
	double spent = between(
		view, json_text_or(view->job, "started", NULL), json_text_or(view->job, "finished", NULL));
	char bar_text[4 * BAR + 1], spent_text[40], left_text[40], time[100] = "";

	if (done < 0)
		done = 0;
	if (isfinite(spent))
		snprintf(time, sizeof(time), "   %s", duration(spent, spent_text));
	if (isfinite(spent) && done > 0 && !strcmp(state, "running"))
		snprintf(time + strlen(time), sizeof(time) - strlen(time), ", about %s left",
			duration(spent / (double)done * (double)(rounds - done), left_text));
	put_line(view, BOLD, "%s", json_text_or(view->job, "name", ""));
	put_line(view, PLAIN, "%s  %s  round %lld of %lld%s",
		bar((double)done / (double)(rounds > 0 ? rounds : 1), bar_text), state, (long long)round,
		(long long)rounds, time);
	if (json_is_string(json_object_get(view->job, "reason")))
		put_line(view, !strcmp(state, "failed") ? RED : YELLOW, "%s", json_text_or(view->job, "reason", ""));
}

static void draw_curve(struct view *view, const json_t *curve)
{
	const json_t *values = json_object_get(curve, "values"), *rounds = json_object_get(curve, "rounds");
	size_t last = json_array_size(values) - 1;
	char text[4 * SPARKS + 1];

	put_line(view, PLAIN, "  %-16.30s %s  %.4f  in round %lld", json_text_or(curve, "name", ""),
		sparks(values, text), json_number_value(json_array_get(values, last)),
		(long long)json_integer_value(json_array_get(rounds, last)));
}

/* Whether a metric is of the model, rather than of the training that led to it. */
static bool is_of_the_model(const char *name)
{
	return strncmp(name, "train_", 6) != 0 && strncmp(name, "aggregate_", 10) != 0 &&
	       strcmp(name, "update_norm") != 0;
}

/* The job's key metric goes first. */
static void draw_curves(struct view *view)
{
	const char *key = json_text_or(
		json_object_get(json_object_get(view->job, "spec"), "params"), "key_metric", "");
	const json_t *all = json_object_get(view->curves, "series");
	int64_t best = json_integer_or(view->job, "best_round", -1);
	int shown = 0;
	size_t i;
	json_t *curve;

	json_array_foreach (all, i, curve)
		if (!strcmp(json_text_or(curve, "name", ""), key) && ++shown)
			draw_curve(view, curve);
	if (shown && best >= 0)
		put_line(view, DIM, "  %-16s best in round %lld", "", (long long)best);
	json_array_foreach (all, i, curve)
		if (strcmp(json_text_or(curve, "name", ""), key) != 0 &&
			is_of_the_model(json_text_or(curve, "name", "")) && shown++ < METRICS)
			draw_curve(view, curve);
}

/* Three times as long as those who are done took, and worth a look. */
static bool is_slow(const struct view *view, double spent)
{
	double sum = 0;
	size_t count = 0, i;
	json_t *task;

	json_array_foreach (json_object_get(view->tasks, "items"), i, task) {
		if (strcmp(json_text_or(task, "state", ""), "done") != 0)
			continue;
		sum += between(view, json_text_or(task, "leased", NULL), json_text_or(task, "finished", NULL));
		count++;
	}
	return count > 0 && spent > 10 && spent > 3 * sum / (double)count;
}

static void draw_task(struct view *view, const json_t *task)
{
	const char *state = json_text_or(task, "state", ""), *style = PLAIN;
	const json_t *loss = json_object_get(json_object_get(task, "metrics"), "train_loss");
	double spent = between(view, json_text_or(task, "leased", NULL), json_text_or(task, "finished", NULL));
	bool leased = !strcmp(state, "leased"), done = !strcmp(state, "done");
	double share = done ? 1 : leased ? json_number_or(task, "fraction", 0) : 0;
	const char *doing = leased ? json_text_or(task, "stage", "working") : state;
	char bar_text[4 * BAR + 1], time[40] = "", loss_text[40] = "", done_text[40];

	if (!strcmp(state, "failed"))
		style = RED;
	if (done) {
		snprintf(done_text, sizeof(done_text), "%.20s done", json_text_or(task, "kind", ""));
		doing = done_text;
	}
	if (leased && is_slow(view, spent)) {
		style = YELLOW;
		doing = "slow";
	}
	if ((leased || done) && isfinite(spent))
		duration(spent, time);
	if (json_is_number(loss))
		snprintf(loss_text, sizeof(loss_text), "  train_loss %.4f", json_number_value(loss));
	put_line(view, style, "  %-*.*s %s  %-14.14s %8s%s", NAME, NAME, json_text_or(task, "site", ""),
		bar(share, bar_text), doing, time, loss_text);
}

/* All of them if they fit, else as many as do of those that are not done. */
static void draw_tasks(struct view *view)
{
	const json_t *tasks = json_object_get(view->tasks, "items");
	int64_t room = terminal.rows - view->drawn - RECENT - OTHER_LINES;
	size_t count = json_array_size(tasks), most = room < 3 ? 3 : (size_t)room, shown = 0, done = 0, i;
	json_t *task;

	json_array_foreach (tasks, i, task) {
		bool is_done = !strcmp(json_text_or(task, "state", ""), "done");

		done += is_done;
		if (shown == most || (is_done && count > most))
			continue;
		draw_task(view, task);
		shown++;
	}
	if (shown < count)
		put_line(view, DIM, "  and %zu more; %zu of %zu are done", count - shown, done, count);
}

static void draw_recent(struct view *view)
{
	size_t i;
	json_t *event;

	json_array_foreach (view->recent, i, event) {
		const char *time = json_text_or(event, "time", "");

		put_line(view, DIM, "  %.8s  %s", strlen(time) > 19 ? time + 11 : "",
			json_text_or(event, "message", ""));
	}
}

static void draw_next(struct view *view)
{
	const char *state = json_text_or(view->job, "state", "");

	if (!job_has_ended(view->job))
		put_line(view, DIM, "Ctrl-C leaves; the job goes on.");
	else if (!strcmp(state, "completed"))
		put_line(view, PLAIN, "Its model: rounds job download %s", view->id);
	else
		put_line(view, PLAIN, "What happened: rounds job events %s", view->id);
}

void live_draw(struct view *view)
{
	measure_terminal();
	if (view->drawn)
		printf("\033[%lldA", (long long)view->drawn);
	view->drawn = 0;
	draw_head(view);
	draw_curves(view);
	draw_tasks(view);
	draw_recent(view);
	draw_next(view);
	fputs("\033[J", stdout);
}
