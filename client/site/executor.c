#include "client/site/executor.h"

#include "client/site/process.h"
#include "client/site/words.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	LINE_LIMIT = 1 << 20,
	LAST_WORDS = 8000,
	WATCH_MS = 500,
	GRACE_MS = 2000, /* what a program that is asked to end may take */
	EXIT_MS = 1000,  /* what one that has closed its output may take to end */
	LOG_LINE = 500
};

struct executor {
	struct process process; /* its pid is 0 if it was started by someone else */
	int protocol;
	int listening; /* the socket to which that one connects, or -1 */
	char *socket_path;
	char *line; /* what has come of a line */
	size_t line_size;
	char last[LAST_WORDS + 1]; /* of stderr */
	size_t last_size;
	json_t *progress; /* its last report */
	json_t *log;      /* lines that nobody has taken yet */
	struct speech speech;
};

/* Only this daemon's user may connect. */
static int listen_at(struct executor *executor, const char *path, struct rounds_error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t before;
	int failed;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(error, ERROR_INVALID, "the path of a socket has at most %zu characters",
			sizeof(address.sun_path) - 1);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	executor->socket_path = strdup(path);
	executor->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	before = umask(0177);
	failed = !executor->socket_path || executor->listening < 0 ||
		 bind(executor->listening, (struct sockaddr *)&address, sizeof(address)) ||
		 listen(executor->listening, 1);
	umask(before);
	return failed ? error_errno(error, "cannot listen at %s", path) : 0;
}

int executor_start(const json_t *settings, const char *directory, struct executor **out, struct rounds_error *error)
{
	scoped(executor_free) struct executor *executor = calloc(1, sizeof(*executor));
	char variable[32];

	if (!executor)
		return error_no_memory(error);
	executor->process = (struct process){ .pid = 0, .input = -1, .output = -1, .words = -1 };
	executor->listening = -1;
	executor->protocol = EXECUTOR_PROTOCOL;
	/* A program sees by it that it is an executor. */
	snprintf(variable, sizeof(variable), "ROUNDS_PROTOCOL=%d", EXECUTOR_PROTOCOL);
	if (!(executor->line = malloc(LINE_LIMIT + 1)))
		return error_no_memory(error);
	if (json_object_get(settings, "socket")) {
		if (listen_at(executor, json_text_or(settings, "socket", ""), error))
			return -1;
	} else if (process_start(settings, directory, variable, &executor->process, error))
		return -1;
	*out = executor;
	executor = NULL;
	return 0;
}

void executor_free(struct executor *executor)
{
	if (!executor)
		return;
	process_end(&executor->process, GRACE_MS);
	file_close(executor->listening);
	if (executor->socket_path)
		unlink(executor->socket_path);
	free(executor->socket_path);
	json_decref(executor->progress);
	json_decref(executor->log);
	free(executor->line);
	free(executor);
}

/* What is there of stderr, at most; false at its end. */
static bool take_words(struct executor *executor)
{
	char block[4096];
	ssize_t got = read(executor->process.words, block, sizeof(block));
	size_t size = got > 0 ? (size_t)got : 0, keep;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		file_close(executor->process.words);
		executor->process.words = -1;
		return false;
	}
	keep = executor->last_size + size > LAST_WORDS ? LAST_WORDS - size : executor->last_size;
	memmove(executor->last, executor->last + executor->last_size - keep, keep);
	memcpy(executor->last + keep, block, size);
	executor->last_size = keep + size;
	executor->last[executor->last_size] = '\0';
	return true;
}

/* One task's conversation. */
struct talk {
	struct executor *executor;
	const struct executor_turn *turn;
	int64_t give_up; /* steady time */
	char *line;      /* the task as it is handed over */
	size_t left;     /* of it */
	bool answered;   /* the program has said something */
	bool over;       /* with a result or a failure */
	json_t **result;
	struct failure *failure;
};

static int end_with(struct talk *talk, enum failure_kind kind, bool retry, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The program's last words on stderr, then ours. */
static int end_with(struct talk *talk, enum failure_kind kind, bool retry, const char *format, ...)
{
	scoped(text_free) char *ours = NULL;
	scoped(text_free) char *all = NULL;
	struct executor *executor = talk->executor;
	va_list arguments;

	for (int blocks = 0; blocks < 64 && executor->process.words >= 0 && take_words(executor);)
		blocks++; /* a child that goes on talking ends nothing */
	va_start(arguments, format);
	ours = text_new_from(format, arguments);
	va_end(arguments);
	all = text_new("%.*s\n%s", (int)executor->last_size, executor->last, ours ? ours : "");
	executor->last_size = 0;
	talk->over = true;
	return failed_with(talk->failure, kind, retry, all ? all : format);
}

/* Its output has ended: it has, too, or is about to, or pretends. */
static int end_with_exit(struct talk *talk)
{
	const struct process *process = &talk->executor->process;
	int status;

	if (process->pid == 0)
		return end_with(
			talk, FAILURE_EXIT, true, "the program that had connected went away before it gave a result");
	if (!process_has_ended(process, EXIT_MS, &status))
		return end_with(talk, FAILURE_EXIT, true, "the executor closed its output before it gave a result");
	if (WIFSIGNALED(status))
		return end_with(talk, FAILURE_SIGNAL, true, "the executor was killed by signal %d (%s)",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	return end_with(talk, FAILURE_EXIT, true, "the executor ended with status %d before it gave a result",
		WEXITSTATUS(status));
}

/* Of many lines, the last. */
static void keep_log(struct executor *executor, const char *line)
{
	if (!executor->log)
		executor->log = json_array();
	if (json_array_size(executor->log) == EXECUTOR_LOG_LINES)
		json_array_remove(executor->log, 0);
	json_array_append_new(executor->log, json_text_n(line, text_cut(line, strlen(line), LOG_LINE)));
}

json_t *executor_take_log(struct executor *executor)
{
	json_t *log = executor->log;

	executor->log = NULL;
	return log;
}

bool executor_has_log(const struct executor *executor)
{
	return json_array_size(executor->log) > 0;
}

/* The task as a line, in the version of the protocol that the program speaks. */
static int write_task(struct talk *talk)
{
	json_auto_t *task = json_copy((json_t *)(uintptr_t)talk->turn->task);
	scoped(text_free) char *text = NULL;

	if (talk->executor->protocol < 2)
		json_object_del(task, "files"); /* it knows those that have members of their own */
	if (!task || json_object_set_new(task, "protocol", json_integer(talk->executor->protocol)) ||
		!(text = json_dumps(task, JSON_COMPACT)))
		return end_with(talk, FAILURE_NO_MEMORY, true, "there is no memory for the task");
	free(talk->line);
	talk->line = text_new("%s\n", text);
	talk->left = talk->line ? strlen(talk->line) : 0;
	return talk->line ? 0 : end_with(talk, FAILURE_NO_MEMORY, true, "there is no memory for the task");
}

/* A program of version 1 that looks at the number says that it does not speak this one, before anything else. */
static bool refuses_protocol(const struct talk *talk, const json_t *said)
{
	return !talk->answered && talk->left == 0 && talk->executor->protocol > 1 && !json_object_get(said, "kind") &&
	       strcasestr(json_text_or(said, "message", ""), "protocol");
}

/* A role is a member of the dataset in site.json, so that nothing else can be said by it, or names a parameter of the job. */
static bool may_be_told(const json_t *dataset, enum failure_kind kind, const char *role)
{
	return kind == FAILURE_PARAMS || json_object_get(dataset, role) ||
	       (kind == FAILURE_SCHEMA && !strcmp(role, "features"));
}

/* What the program tells of its failure, as far as that may be told on: a kind and a place. */
static void take_failure(struct talk *talk, const json_t *said)
{
	static const char *const places[] = { "role", "row", "column", "tensor" };
	const json_t *dataset = json_object_get(talk->turn->task, "dataset");
	json_auto_t *told = json_object();
	struct rounds_error error = { 0 };
	enum failure_kind kind = FAILURE_PROGRAM;

	failure_parse(json_text_or(said, "kind", NULL), &kind);
	json_object_set_new(told, "kind", json_string(failure_name(kind)));
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		json_object_set(told, places[i], json_object_get(said, places[i]));
	if (!may_be_told(dataset, kind, json_text_or(said, "role", "")))
		json_object_del(told, "role");
	if (failure_read(told, talk->failure, &error))
		log_warn("the executor's failure names no place that can be told", "field", error.field, "reason",
			error.message, NULL);
	talk->over = true;
	failed_with(talk->failure, kind, json_bool_or(said, "retry", false),
		json_text_or(said, "message", "the executor failed without a message"));
}

/* One line of its protocol. Programs write in other encodings, too: a log line in Latin-1 ends nothing. */
static int hear(struct talk *talk, char *line, size_t size)
{
	struct executor *executor = talk->executor;
	json_auto_t *said = NULL;
	struct rounds_error fault;
	const char *type;

	if (!text_is_utf8(line, size))
		size = strlen(text_repair(line));
	if (json_parse(line, size, &said, &fault))
		return end_with(
			talk, FAILURE_OUTPUT, false, "the executor wrote a line that is not JSON: %.300s", line);
	type = json_text_or(said, "type", "");
	if (!strcmp(type, "error") && refuses_protocol(talk, said)) {
		executor->protocol = 1;
		return write_task(talk);
	}
	talk->answered = true;
	if (!strcmp(type, "progress")) {
		json_decref(executor->progress);
		executor->progress = json_incref(said);
	} else if (!strcmp(type, "log")) {
		speech_log(&executor->speech, json_text_or(said, "message", ""));
		if (!json_bool_or(said, "printed", false))
			keep_log(executor, json_text_or(said, "message", ""));
	} else if (!strcmp(type, "result")) {
		*talk->result = json_incref(said);
		talk->over = true;
	} else if (!strcmp(type, "error")) {
		take_failure(talk, said);
	}
	return 0; /* all else is of a later protocol */
}

static void take_output(struct talk *talk)
{
	struct executor *executor = talk->executor;
	char *from = executor->line, *newline;
	ssize_t got = read(
		executor->process.output, executor->line + executor->line_size, LINE_LIMIT - executor->line_size);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		end_with_exit(talk);
		return;
	}
	executor->line_size += (size_t)got;
	while (!talk->over && (newline = memchr(from, '\n', executor->line_size))) {
		size_t length = (size_t)(newline - from);

		*newline = '\0';
		if (length > 0 && hear(talk, from, length))
			return;
		from = newline + 1;
		executor->line_size -= length + 1;
	}
	memmove(executor->line, from, executor->line_size);
	if (!talk->over && executor->line_size == LINE_LIMIT)
		end_with(talk, FAILURE_OUTPUT, false, "the executor wrote a line of more than %d bytes", LINE_LIMIT);
}

static void hand_over(struct talk *talk)
{
	const char *next = talk->line + strlen(talk->line) - talk->left;
	ssize_t put = write(talk->executor->process.input, next, talk->left);

	if (put >= 0)
		talk->left -= (size_t)put;
	else if (errno != EAGAIN && errno != EINTR)
		end_with_exit(talk);
}

/* Someone's program has connected. */
static void accept_program(struct executor *executor)
{
	struct process *process = &executor->process;

	process->input = accept4(executor->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	process->output = process->input < 0 ? -1 : fcntl(process->input, F_DUPFD_CLOEXEC, 0);
}

/* Whatever is ready, for half a second at most. */
static void exchange(struct talk *talk)
{
	struct executor *executor = talk->executor;
	const struct process *process = &executor->process;
	bool waits = executor->listening >= 0 && process->input < 0;
	struct pollfd ready[] = {
		{ .fd = waits ? executor->listening : -1, .events = POLLIN },
		{ .fd = talk->left > 0 ? process->input : -1, .events = POLLOUT },
		{ .fd = process->words, .events = POLLIN },
		{ .fd = process->output, .events = POLLIN },
	};

	if (poll(ready, ARRAY_SIZE(ready), WATCH_MS) < 0)
		return;
	if (ready[0].revents)
		accept_program(executor);
	if (ready[1].revents)
		hand_over(talk);
	if (ready[2].revents)
		take_words(executor);
	if (!talk->over && ready[3].revents)
		take_output(talk);
}

static int end_too_late(struct talk *talk)
{
	if (talk->executor->process.input < 0)
		return end_with(
			talk, FAILURE_EXECUTOR, true, "no program has connected to %s", talk->executor->socket_path);
	return end_with(talk, FAILURE_TIMEOUT, false, "the task took longer than its limit of %lld s",
		(long long)(talk->turn->timeout_us / SECOND_US));
}

static int converse(struct talk *talk)
{
	const struct executor_turn *turn = talk->turn;

	if (write_task(talk))
		return -1;
	while (!talk->over) {
		exchange(talk);
		if (talk->over)
			break;
		if (clock_steady_us() > talk->give_up)
			return end_too_late(talk);
		if (!turn->watch(turn->context, talk->executor->progress))
			return -1;
	}
	return *talk->result ? 0 : -1;
}

int executor_run(
	struct executor *executor, const struct executor_turn *turn, json_t **result, struct failure *failure)
{
	struct talk talk = { .executor = executor, .turn = turn, .result = result, .failure = failure };
	int failed;

	talk.give_up = turn->timeout_us > 0 ? clock_steady_us() + turn->timeout_us : INT64_MAX;
	json_decref(executor->progress);
	json_decref(executor->log);
	executor->progress = NULL;
	executor->log = NULL;
	executor->last_size = 0;
	failed = converse(&talk);
	speech_end(&executor->speech);
	free(talk.line);
	return failed;
}
